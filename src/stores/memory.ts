// Stores: a disk of memory, which is gone when it is closed.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { createMemfd } from '../sys/memfd.ts';
import { AllocationMap } from './allocation-map.ts';
import { mappedFile } from './mapped-file.ts';
import { formatSize } from './size.ts';

/** A disk of zeroes, `sizeBytes` long (a multiple of 512); it takes memory where it is written. Throws SystemError. */
export function memory(sizeBytes: number): BlockStore {
  const file = memoryFile(sizeBytes);
  return mappedFile(file, new AllocationMap(file));
}

/** The file behind such a disk. */
export function memoryFile(sizeBytes: number, readOnly = false): ImageFile {
  const name = `mem:${formatSize(sizeBytes)}`;
  return ImageFile.adopt(createMemfd(name, sizeBytes), name, readOnly);
}
