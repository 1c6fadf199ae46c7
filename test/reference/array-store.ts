// A disk that is an array, and holds its caller to the contract of BlockStore: whole sectors, inside the disk.
import assert from 'node:assert/strict';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';

export type ArrayStore = Required<Pick<BlockStore, 'read' | 'write' | 'flush' | 'discard' | 'writeZeroes'>> &
  BlockStore & { readonly bytes: Uint8Array };

/** A store over `bytes`. What is discarded reads as zeroes. */
export function arrayStore(bytes: Uint8Array): ArrayStore {
  const check = (offset: number, length: number): void => {
    if (offset % 512 === 0 && length % 512 === 0 && offset >= 0 && offset + length <= bytes.length) return;
    assert.fail(`${length} bytes at ${offset} of a disk of ${bytes.length}`);
  };
  const clear = (offset: number, length: number): void => {
    check(offset, length);
    bytes.fill(0, offset, offset + length);
  };
  return {
    bytes,
    sizeBytes: bytes.length,
    read(offset, into) {
      check(offset, into.length);
      into.set(bytes.subarray(offset, offset + into.length));
    },
    write(offset, from) {
      check(offset, from.length);
      bytes.set(from, offset);
    },
    flush() {},
    discard: clear,
    writeZeroes: clear,
  };
}

/** `length` bytes of which each differs from its neighbours and from what `salt` + 1 gives. */
export function pattern(length: number, salt = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + salt * 101 + 1) & 0xff);
}
