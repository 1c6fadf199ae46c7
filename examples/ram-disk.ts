// A disk in memory, in ten lines:  ./belfry serve blk ./examples/ram-disk.ts --socket /tmp/ram.sock
import type { BlockStore } from 'belfry';

export default function ramDisk(sizeBytes = 64 * 1024 * 1024): BlockStore {
  const bytes = new Uint8Array(sizeBytes);
  return {
    sizeBytes,
    read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
    write: (offset, from) => bytes.set(from, offset),
  };
}
