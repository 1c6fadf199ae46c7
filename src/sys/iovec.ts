// sys: struct iovec { void *iov_base; size_t iov_len; }: many buffers as one argument. readv(2).
import { getRawPointer } from 'node:ffi';
import type { Scratch } from './scratch.ts';

/** The limit of one call: UIO_MAXIOV. */
export const IOV_MAX = 1024;
const IOVEC_BYTES = 16;

/**
 * Writes a vector of up to IOV_MAX `pieces` at the start of `scratch`. They must stay alive until the call that uses it
 * returns.
 */
export function writeIovecs(scratch: Scratch, pieces: readonly Uint8Array[]): void {
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Uint8Array;
    // V8 keeps a small typed array in its heap, where the collector moves it, until its `buffer` is first read.
    void piece.buffer;
    // SAFETY: the bytes of an ArrayBuffer do not move; the caller keeps the view alive until the call returns.
    scratch.view.setBigUint64(i * IOVEC_BYTES, getRawPointer(piece), true);
    scratch.view.setBigUint64(i * IOVEC_BYTES + 8, BigInt(piece.length), true);
  }
}
