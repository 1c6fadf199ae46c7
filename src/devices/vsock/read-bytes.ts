// virtio-vsock: bytes of an endpoint on their way into a buffer of the guest.
import type { Segments } from '../../virtio/segments.ts';
import { HEADER_BYTES } from './spec.ts';
import type { VsockEndpoint } from './vsock-port.ts';

/** What `readBytes` found besides bytes: one object, so that a packet costs none. */
export const found = {
  /** The endpoint has none now. */
  isDrained: false,
  /** It has no more. */
  isEnd: false,
  /** They end a message. */
  isMessageEnd: false,
};

/** Reads bytes of an endpoint into a buffer behind the header, up to byte `end`; of one message at most. Returns how many. */
export function readBytes(endpoint: VsockEndpoint, isMessages: boolean, buffer: Segments, end: number): number {
  found.isDrained = found.isEnd = found.isMessageEnd = false;
  let at = HEADER_BYTES;
  while (at < end && !found.isMessageEnd) {
    const into = buffer.piece(at, end);
    const count = endpoint.read(into);
    if (count === undefined) {
      found.isDrained = true;
      break;
    }
    found.isMessageEnd = isMessages && endpoint.isMessageEnd === true;
    found.isEnd = count === 0 && !found.isMessageEnd;
    at += count;
    if (count < into.length) break;
  }
  return at - HEADER_BYTES;
}
