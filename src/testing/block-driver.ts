// Upper floor: the driver of a block device: cuts requests into descriptors where it is told, decodes what comes back.
import { type BlockRequest, encodeReadable } from './block-request.ts';
import { ChainDriver, UNWRITTEN } from './chain-driver.ts';
import type { DriverMemory } from './driver-memory.ts';
import type { DriverQueue } from './driver-queue.ts';

/** How a request becomes a chain. What is left after the pieces named is one more piece; a piece may have no bytes. */
export interface Framing {
  /** Lengths of the pieces of header and data. */
  readonly readable?: readonly number[];
  /** Lengths of the pieces of data and status. */
  readonly writable?: readonly number[];
  /** The first piece that stands in an indirect table; none unless said. */
  readonly indirectFrom?: number;
}

/** A request that came back. */
export interface BlockResult {
  /** What `add` returned for it. */
  readonly head: number;
  /** As it was given to `add`. */
  readonly request: BlockRequest;
  /** `STATUS_UNWRITTEN` when the device left it alone. */
  readonly status: number;
  /** The used length: how many bytes the device says it wrote. */
  readonly usedLength: number;
  /** All `inBytes` of the request; what the device did not write is `UNWRITTEN`. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The status byte until the device writes it: no status of VIRTIO has this value. */
export const STATUS_UNWRITTEN = 0xff;

/**
 * The driver of a block device on one queue: makes requests, cuts them into descriptors, decodes what comes back. `BlockLoopback` has one.
 *
 * @example
 * driver.add(blockRequest.write(0, new Uint8Array(512)));
 * driver.queue.publish();
 * const [{ status }] = driver.harvest();
 */
export class BlockDriver {
  /** The ring, where the driver publishes and looks. */
  readonly queue: DriverQueue;
  readonly #chains: ChainDriver;
  readonly #requests = new Map<number, BlockRequest>();

  constructor(memory: DriverMemory, queue: DriverQueue) {
    this.#chains = new ChainDriver(memory, queue);
    this.queue = queue;
  }

  /** Requests that have not come back. */
  get inFlight(): number {
    return this.#requests.size;
  }

  /** Places a request, which the device sees after `queue.publish`. Gives its head. Throws RangeError without room. */
  add(request: BlockRequest, { readable = [], writable = [], indirectFrom }: Framing = {}): number {
    const head = this.#chains.add({
      readable: cut(encodeReadable(request), readable),
      writable: cut(freshWritable(request.inBytes), writable),
      ...(indirectFrom !== undefined && { indirectFrom }),
    });
    this.#requests.set(head, request);
    return head;
  }

  /** Every request that came back since the last time. Throws DeviceError when the device broke a MUST. */
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

/** Pieces of these lengths, as far as there are bytes; what is left is one more. */
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
