// sys: struct iovec { void *iov_base; size_t iov_len; }: many buffers as one argument. readv(2).
import { addressOf } from './address.ts';
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
  const { view } = scratch;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Uint8Array;
    const at = (first + i) * IOVEC_BYTES;
    const address = addressOf(piece);
    // In halves: a BigInt would be an allocation.
    view.setUint32(at, address >>> 0, true);
    view.setUint32(at + 4, address / 2 ** 32, true);
    view.setUint32(at + 8, piece.length, true);
    view.setUint32(at + 12, piece.length / 2 ** 32, true);
  }
}
