// vhost-user/back-end: the file of a session in which its queues record their requests in flight; the front end keeps
// it for the back end after this one.
import { sealShrink } from '../../../sys/memfd.ts';
import { closeReceived } from '../../../sys/received-fd.ts';
import { ringFormatOf } from '../../../virtio/negotiated-format.ts';
import type { InFlightPart } from '../../queue/queue-host.ts';
import type { InflightMessage } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { memoryStatus } from './guest-regions.ts';

/** Each queue's part begins on a cache line of its own. */
const ALIGNMENT = 64;

/** Bytes of the parts of `queues` queues with up to `queueSize` descriptors. */
export function inFlightFileBytes(queues: number, queueSize: number, features: bigint): number {
  return queues * partBytes(queueSize, features);
}

function partBytes(queueSize: number, features: bigint): number {
  return Math.ceil(ringFormatOf(features).inFlightBytes(queueSize) / ALIGNMENT) * ALIGNMENT;
}

/** The file that the front end set, or none. Owns its descriptor. */
export class InFlightFile {
  #file: (InflightMessage & { readonly fd: number }) | undefined;

  /**
   * Takes over a file and its descriptor. Throws ProtocolError where it is too short, or no memory; the caller then
   * keeps the descriptor.
   */
  set(message: InflightMessage, fd: number, features: bigint): void {
    const { mmapSize, mmapOffset, queues, queueSize } = message;
    const wanted = inFlightFileBytes(queues, queueSize, features);
    const { size } = memoryStatus('SET_INFLIGHT_FD', fd, false);
    const refused = (why: string): ProtocolError => new ProtocolError('SET_INFLIGHT_FD', why);
    if (mmapOffset % ALIGNMENT !== 0) throw refused(`offset ${mmapOffset} is not a multiple of ${ALIGNMENT}`);
    if (wanted > mmapSize) throw refused(`${mmapSize} bytes; ${queues} queues of ${queueSize} take ${wanted}`);
    if (mmapOffset + mmapSize > size)
      throw refused(`its part ends at byte ${mmapOffset + mmapSize} of a file of ${size}`);
    this.clear();
    // Where it cannot be sealed, the front end can end this process, as with its memory.
    sealShrink(fd);
    this.#file = { ...message, fd };
  }

  /** The part of a queue; undefined where there is no file, or it has no part for a queue of this size. */
  partOf(index: number, size: number, features: bigint): InFlightPart | undefined {
    if (this.#file === undefined) return undefined;
    const { fd, mmapOffset, queues, queueSize } = this.#file;
    if (index >= queues || size > queueSize) return undefined;
    const fileOffset = mmapOffset + index * partBytes(queueSize, features);
    return { fd, fileOffset, sizeBytes: ringFormatOf(features).inFlightBytes(size) };
  }

  clear(): void {
    if (this.#file !== undefined) closeReceived(this.#file.fd);
    this.#file = undefined;
  }
}
