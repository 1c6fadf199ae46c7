// test/vhost-user/sequences: the driver's side of one ring of a replay, and what is left of its old requests.
import { BlockDriver, type BlockResult } from '../../../src/testing/block-driver.ts';
import { type BlockRequest, blockRequest, encodeReadable } from '../../../src/testing/block-request.ts';
import type { DriverMemory } from '../../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../../src/testing/driver-queue.ts';
import { TRAP_SECTOR } from './witnessed-disk.ts';

const VIRTIO_F_EVENT_IDX = 1n << 29n;
const DESCRIPTOR_WORDS = 4;
const F_NEXT = 1;
const F_WRITE = 2;
const HEADER_BYTES = 16;
const FILLER = 0x21;

export interface RingOptions {
  readonly size: number;
  readonly features: bigint;
  /** Where its indices start. */
  readonly start: number;
}

interface Canary {
  readonly bytes: Uint8Array;
  readonly expected: Uint8Array;
}

export class ReplayedRing {
  readonly #memory: DriverMemory;
  readonly queue: DriverQueue;
  readonly #driver: BlockDriver;
  readonly #eventIdx: boolean;
  readonly #inFlight = new Map<number, BlockRequest>();
  #canaries: Canary[] = [];

  constructor(memory: DriverMemory, options: RingOptions) {
    this.#memory = memory;
    this.queue = new DriverQueue(memory, options);
    this.#driver = new BlockDriver(memory, this.queue);
    this.#eventIdx = (options.features & VIRTIO_F_EVENT_IDX) !== 0n;
  }

  /** The used index, as the device left it. */
  get usedIndex(): number {
    return Atomics.load(this.queue.used, 1);
  }

  get availableIndex(): number {
    return this.queue.availableIndex;
  }

  /** Requests that have not come back. */
  get inFlight(): readonly BlockRequest[] {
    return [...this.#inFlight.values()];
  }

  /** Asks for a call at the next completion; gives whether one is there already. */
  requestCalls(): boolean {
    return this.queue.requestCalls();
  }

  /** Makes requests available; gives whether the device wants to be kicked for them. */
  submit(requests: readonly BlockRequest[]): boolean {
    this.#canaries = [];
    for (const request of requests) this.#inFlight.set(this.#driver.add(request), request);
    this.queue.publish();
    return this.queue.needsKick();
  }

  /** What came back. Throws DeviceError for what was not in flight. */
  harvest(): BlockResult[] {
    const results = this.#driver.harvest();
    for (const { head } of results) this.#inFlight.delete(head);
    return results;
  }

  /** Whether the next request that the driver makes available would be kicked. */
  asksForKicks(): boolean {
    if (!this.#eventIdx) return Atomics.load(this.queue.used, 0) === 0;
    // Requests that wait are found at the next start; the first after them has to be kicked, or one of them already is.
    const event = Atomics.load(this.queue.used, 2 + DESCRIPTOR_WORDS * this.queue.size);
    const waiting = (this.availableIndex - this.usedIndex) & 0xffff;
    return ((event - this.usedIndex) & 0xffff) <= waiting;
  }

  /**
   * The guest uses the memory of every request that is done for something else. A request that is served again now
   * writes to TRAP_SECTOR, or into memory where `disturbed` finds it.
   */
  reuseMemory(): void {
    const busy = this.#busyDescriptors();
    for (let i = 0; i < this.queue.size; i++) {
      const at = DESCRIPTOR_WORDS * i;
      const words = this.queue.descriptors.subarray(at, at + DESCRIPTOR_WORDS);
      const [low = 0, high = 0, length = 0, flags = 0] = words;
      if (busy.has(i) || length === 0) continue;
      const bytes = this.#memory.slice(low + high * 2 ** 32, length);
      bytes.fill(FILLER);
      if ((flags & F_WRITE) === 0 && length >= HEADER_BYTES)
        bytes.set(encodeReadable(blockRequest.write(TRAP_SECTOR, new Uint8Array(0))));
      this.#canaries.push({ bytes, expected: bytes.slice() });
    }
  }

  #busyDescriptors(): Set<number> {
    const busy = new Set<number>();
    for (const head of this.#inFlight.keys()) {
      for (let i = head; ; ) {
        busy.add(i);
        const word = this.queue.descriptors[DESCRIPTOR_WORDS * i + 3] as number;
        if ((word & F_NEXT) === 0) break;
        i = word >>> 16;
      }
    }
    return busy;
  }

  /** Whether memory of old requests has changed since `reuseMemory`. Says so once; a new request ends the watch. */
  disturbed(): boolean {
    const isDisturbed = this.#canaries.some(({ bytes, expected }) => expected.some((byte, i) => bytes[i] !== byte));
    if (isDisturbed) this.#canaries = [];
    return isDisturbed;
  }
}
