// testing: the driver of any device: puts bytes into descriptor chains, and gathers the bytes of completed ones.
import type { DriverMemory } from './driver-memory.ts';
import type { DriverBuffer, DriverQueue } from './driver-queue.ts';

/** The byte that fills device-writable memory until the device writes there. */
export const UNWRITTEN = 0xee;

/** A chain, piece by piece: each becomes a descriptor. A piece may be empty. */
export interface ChainPieces {
  /** Device-readable bytes. */
  readonly readable?: readonly Uint8Array[];
  /** Device-writable pieces: a length, filled with `UNWRITTEN`, or the bytes to fill the piece with. */
  readonly writable?: readonly (number | Uint8Array)[];
  /** Pieces from this one on are in an indirect table. Default: none. */
  readonly indirectFrom?: number;
}

/** A completed chain. */
export interface UsedChain {
  /** What `add` returned for it. */
  readonly head: number;
  /** The used length: how many bytes the device reports to have written. */
  readonly written: number;
  /** All device-writable bytes of the chain. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The driver of any device on one queue: puts bytes into descriptor chains, and gathers completed ones. `LoopbackQueue`
 * has one.
 */
export class ChainDriver {
  /** The driver's side of the ring. */
  readonly queue: DriverQueue;
  readonly #memory: DriverMemory;
  readonly #placed = new Map<number, readonly DriverBuffer[]>();

  constructor(memory: DriverMemory, queue: DriverQueue) {
    this.#memory = memory;
    this.queue = queue;
  }

  /** How many chains are not completed. */
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

  /** Returns the chains completed since the last call, in order. Throws DeviceError when the device broke a MUST. */
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
