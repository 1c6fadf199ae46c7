// sys: the address of a view, for a system call that uses it after it was made: io_uring(7).
import { getRawPointer } from 'node:ffi';

let lastBuffer: WeakRef<ArrayBufferLike> | undefined;
let lastAddress = 0;

/**
 * Returns the address of the first byte of `view`: a number below 2^47. It holds as long as the view is reachable and
 * its buffer attached. Views of guest memory mostly are of one buffer, whose address is looked up once.
 */
export function addressOf(view: Uint8Array): number {
  // V8 keeps a small typed array in its heap, where the collector moves it, until its `buffer` is first read.
  const { buffer } = view;
  if (lastBuffer?.deref() === buffer) return lastAddress + view.byteOffset;
  // SAFETY: the bytes of an ArrayBuffer do not move; the caller keeps the view alive while the address is used.
  const address = Number(getRawPointer(view));
  lastBuffer = new WeakRef(buffer);
  lastAddress = address - view.byteOffset;
  return address;
}
