// Upper floor: the driver of any device: puts bytes into descriptor chains, cut where it is told, and gathers what comes back.
import type { DriverMemory } from './driver-memory.ts';
import type { DriverBuffer, DriverQueue } from './driver-queue.ts';

/** What stands in device-writable memory until the device writes there. */
export const UNWRITTEN = 0xee;

/** A chain, piece by piece: each becomes a descriptor. A piece may have no bytes. */
export interface ChainPieces {
  /** What the device is given to read. */
  readonly readable?: readonly Uint8Array[];
  /** Room for what it writes: so many bytes, which read `UNWRITTEN` until then, or bytes that stand there before. */
  readonly writable?: readonly (number | Uint8Array)[];
  /** The first piece that stands in an indirect table; none unless said. */
  readonly indirectFrom?: number;
}

/** A chain that came back. */
export interface UsedChain {
  /** What `add` returned for it. */
  readonly head: number;
  /** The used length: how many bytes the device says it wrote. */
  readonly written: number;
  /** Everything that it could have written to. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The driver of any device on one queue: puts bytes into chains of descriptors, and gathers what comes back. `LoopbackQueue` has one. */
export class ChainDriver {
  /** The ring, where the driver publishes and looks. */
  readonly queue: DriverQueue;
  readonly #memory: DriverMemory;
  readonly #placed = new Map<number, readonly DriverBuffer[]>();

  constructor(memory: DriverMemory, queue: DriverQueue) {
    this.#memory = memory;
    this.queue = queue;
  }

  /** Chains that have not come back. */
  get inFlight(): number {
    return this.#placed.size;
  }

  /** Places a chain, which the device sees after `queue.publish`. Returns its head. Throws RangeError without room. */
  add({ readable = [], writable = [], indirectFrom }: ChainPieces): number {
    const buffers = [
      ...readable.map((bytes) => this.#place(bytes, false)),
      ...writable.map((piece) =>
        this.#place(typeof piece === 'number' ? new Uint8Array(piece).fill(UNWRITTEN) : piece, true),
      ),
    ];
    const head = this.queue.add(buffers, indirectFrom);
    this.#placed.set(head, buffers);
    return head;
  }

  #place(bytes: Uint8Array, writable: boolean): DriverBuffer {
    const address = this.#memory.allocate(bytes.length);
    this.#memory.slice(address, bytes.length).set(bytes);
    return { address, length: bytes.length, writable };
  }

  /** Every chain that came back since the last time, in the order it did. Throws DeviceError when the device broke a MUST. */
  harvest(): UsedChain[] {
    const used: UsedChain[] = [];
    this.queue.harvest((head, written) => {
      const buffers = this.#placed.get(head) as readonly DriverBuffer[];
      this.#placed.delete(head);
      used.push({ head, written, bytes: this.#gather(buffers.filter(({ writable }) => writable)) });
      for (const { address, length } of buffers) this.#memory.release(address, length);
    });
    return used;
  }

  #gather(buffers: readonly DriverBuffer[]): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(buffers.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { address, length } of buffers) {
      bytes.set(this.#memory.slice(address, length), at);
      at += length;
    }
    return bytes;
  }
}
