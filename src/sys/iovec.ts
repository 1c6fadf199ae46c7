// sys: struct iovec { void *iov_base; size_t iov_len; }: many buffers as one argument. readv(2).
import { getRawPointer } from 'node:ffi';
import type { Scratch } from './scratch.ts';

/** The limit of one call: UIO_MAXIOV. */
export const IOV_MAX = 1024;
/** Bytes of one entry. */
export const IOVEC_BYTES = 16;

/**
 * Writes a vector of up to IOV_MAX `pieces` into `scratch`, from entry `first` on. They must stay alive until the call
 * that uses it returns.
 */
export function writeIovecs(scratch: Scratch, pieces: readonly Uint8Array[], first = 0): void {
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Uint8Array;
    const at = (first + i) * IOVEC_BYTES;
    // V8 keeps a small typed array in its heap, where the collector moves it, until its `buffer` is first read.
    void piece.buffer;
    // SAFETY: the bytes of an ArrayBuffer do not move; the caller keeps the view alive until the call returns.
    scratch.view.setBigUint64(at, getRawPointer(piece), true);
    scratch.view.setBigUint64(at + 8, BigInt(piece.length), true);
  }
}
