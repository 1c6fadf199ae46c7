// Cellar: struct iovec { void *iov_base; size_t iov_len; }: many pieces of memory as one argument. readv(2).
import { getRawPointer } from 'node:ffi';
import type { Scratch } from './scratch.ts';

/** As many as one call takes: UIO_MAXIOV. */
export const IOV_MAX = 1024;
const IOVEC_BYTES = 16;

/** Writes a vector of up to IOV_MAX `pieces` at the start of `scratch`. Keep them alive until the call that uses it. */
export function writeIovecs(scratch: Scratch, pieces: readonly Uint8Array[]): void {
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Uint8Array;
    // A small typed array lives inside the heap, where it moves, until somebody asks for its buffer.
    void piece.buffer;
    // SAFETY: an ArrayBuffer's bytes stay where they are as long as the caller keeps the view.
    scratch.view.setBigUint64(i * IOVEC_BYTES, getRawPointer(piece), true);
    scratch.view.setBigUint64(i * IOVEC_BYTES + 8, BigInt(piece.length), true);
  }
}
