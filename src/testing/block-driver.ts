// testing: the driver of a block device: cuts requests into descriptors, and decodes completions.
import { type BlockRequest, encodeReadable } from './block-request.ts';
import { ChainDriver, UNWRITTEN } from './chain-driver.ts';
import type { DriverMemory } from './driver-memory.ts';
import type { DriverQueue } from './driver-queue.ts';

/** How a request is cut into a chain. The rest after the given pieces is one more piece; a piece may be empty. */
export interface Framing {
  /** Lengths of the pieces of header and data. */
  readonly readable?: readonly number[];
  /** Lengths of the pieces of data and status. */
  readonly writable?: readonly number[];
  /** Pieces from this one on are in an indirect table. Default: none. */
  readonly indirectFrom?: number;
}

/** A completed request. */
export interface BlockResult {
  /** What `add` returned for it. */
  readonly head: number;
  /** The request that was passed to `add`. */
  readonly request: BlockRequest;
  /** `STATUS_UNWRITTEN` if the device did not write it. */
  readonly status: number;
  /** The used length: how many bytes the device reports to have written. */
  readonly usedLength: number;
  /** All `inBytes` of the request; what the device did not write is `UNWRITTEN`. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The status byte until the device writes it: no status of VIRTIO has this value. */
export const STATUS_UNWRITTEN = 0xff;

/**
 * The driver of a block device on one queue: makes requests, cuts them into descriptors, decodes completions.
 * `BlockLoopback` has one.
 *
 * @example
 * driver.add(blockRequest.write(0, new Uint8Array(512)));
 * driver.queue.publish();
 * const [{ status }] = driver.harvest();
 */
export class BlockDriver {
  /** The driver's side of the ring. */
  readonly queue: DriverQueue;
  readonly #chains: ChainDriver;
  readonly #requests = new Map<number, BlockRequest>();

  constructor(memory: DriverMemory, queue: DriverQueue) {
    this.#chains = new ChainDriver(memory, queue);
    this.queue = queue;
  }

  /** How many requests are not completed. */
  get inFlight(): number {
    return this.#requests.size;
  }

  /**
   * Places a request, which the device sees after `queue.publish`. Returns its head. Throws RangeError without room.
   */
  add(request: BlockRequest, { readable = [], writable = [], indirectFrom }: Framing = {}): number {
    const head = this.#chains.add({
      readable: cut(encodeReadable(request), readable),
      writable: cut(freshWritable(request.inBytes), writable),
      ...(indirectFrom !== undefined && { indirectFrom }),
    });
    this.#requests.set(head, request);
    return head;
  }

  /** Returns the requests completed since the last call. Throws DeviceError when the device broke a MUST. */
  harvest(): BlockResult[] {
    return this.#chains.harvest().map(({ head, written, bytes }) => {
      const request = this.#requests.get(head) as BlockRequest;
      this.#requests.delete(head);
      const { inBytes } = request;
      const status = bytes[inBytes] as number;
      return { head, request, status, usedLength: written, data: bytes.subarray(0, inBytes) };
    });
  }
}

/** Cuts `bytes` into pieces of these lengths; the rest is one more piece. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const length of [...lengths, Number.POSITIVE_INFINITY]) {
    const piece = bytes.subarray(at, at + length);
    at += piece.length;
    if (piece.length > 0 || length === 0) pieces.push(piece);
  }
  return pieces;
}

function freshWritable(inBytes: number): Uint8Array {
  const bytes = new Uint8Array(inBytes + 1).fill(UNWRITTEN);
  bytes[inBytes] = STATUS_UNWRITTEN;
  return bytes;
}
