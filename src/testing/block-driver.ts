// Upper floor: the driver of a block device: cuts requests into descriptors where it is told, decodes what comes back.
import { type BlockRequest, encodeReadable } from './block-request.ts';
import type { DriverMemory } from './driver-memory.ts';
import type { DriverBuffer, DriverQueue } from './driver-queue.ts';

/** How a request becomes a chain. What is left after the pieces named is one more piece; a piece may have no bytes. */
export interface Framing {
  /** Lengths of the pieces of header and data. */
  readonly readable?: readonly number[];
  /** Lengths of the pieces of data and status. */
  readonly writable?: readonly number[];
  /** The first piece that stands in an indirect table; none unless said. */
  readonly indirectFrom?: number;
}

export interface BlockResult {
  readonly head: number;
  readonly request: BlockRequest;
  /** `STATUS_UNWRITTEN` when the device left it alone. */
  readonly status: number;
  /** The used length: how many bytes the device says it wrote. */
  readonly usedLength: number;
  /** All `inBytes` of the request; what the device did not write is `UNWRITTEN`. */
  readonly data: Uint8Array<ArrayBuffer>;
}

export const STATUS_UNWRITTEN = 0xff;
export const UNWRITTEN = 0xee;

interface Submitted {
  readonly request: BlockRequest;
  readonly buffers: readonly DriverBuffer[];
}

export class BlockDriver {
  readonly queue: DriverQueue;
  readonly #memory: DriverMemory;
  readonly #submitted = new Map<number, Submitted>();

  constructor(memory: DriverMemory, queue: DriverQueue) {
    this.#memory = memory;
    this.queue = queue;
  }

  /** Requests that have not come back. */
  get inFlight(): number {
    return this.#submitted.size;
  }

  /** Places a request, which the device sees after `queue.publish`. Gives its head. Throws RangeError without room. */
  add(request: BlockRequest, framing: Framing = {}): number {
    const buffers = [
      ...this.#place(encodeReadable(request), framing.readable ?? [], false),
      ...this.#place(freshWritable(request.inBytes), framing.writable ?? [], true),
    ];
    const head = this.queue.add(buffers, framing.indirectFrom);
    this.#submitted.set(head, { request, buffers });
    return head;
  }

  #place(bytes: Uint8Array, cuts: readonly number[], writable: boolean): DriverBuffer[] {
    const buffers: DriverBuffer[] = [];
    let at = 0;
    for (const length of [...cuts, Number.POSITIVE_INFINITY]) {
      const piece = bytes.subarray(at, at + length);
      at += piece.length;
      if (piece.length === 0 && length !== 0) continue;
      const address = this.#memory.allocate(piece.length);
      this.#memory.slice(address, piece.length).set(piece);
      buffers.push({ address, length: piece.length, writable });
    }
    return buffers;
  }

  /** Every request that came back since the last time. Throws DeviceError when the device broke a MUST. */
  harvest(): BlockResult[] {
    const results: BlockResult[] = [];
    this.queue.harvest((head, usedLength) => {
      const { request, buffers } = this.#submitted.get(head) as Submitted;
      this.#submitted.delete(head);
      const written = this.#gather(buffers, request.inBytes + 1);
      const status = written[request.inBytes] as number;
      results.push({ head, request, status, usedLength, data: written.subarray(0, request.inBytes) });
      for (const { address, length } of buffers) this.#memory.release(address, length);
    });
    return results;
  }

  #gather(buffers: readonly DriverBuffer[], length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const buffer of buffers) {
      if (!buffer.writable) continue;
      bytes.set(this.#memory.slice(buffer.address, buffer.length), at);
      at += buffer.length;
    }
    return bytes;
  }
}

function freshWritable(inBytes: number): Uint8Array {
  const bytes = new Uint8Array(inBytes + 1).fill(UNWRITTEN);
  bytes[inBytes] = STATUS_UNWRITTEN;
  return bytes;
}
