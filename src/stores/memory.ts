// stores: a disk in memory, lost when it is closed.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { createMemfd } from '../sys/memfd.ts';
import { AllocationMap } from './allocation-map.ts';
import { mappedFile } from './mapped-file.ts';
import { formatSize } from './size.ts';

const SECTOR_BYTES = 512;

/**
 * Returns a disk of zeroes in memory, `sizeBytes` long (a multiple of 512). Memory is allocated where it is written.
 * Throws RangeError for an invalid size, or SystemError.
 */
export function memory(sizeBytes: number): BlockStore {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR_BYTES !== 0)
    throw new RangeError(
      `memory(${String(sizeBytes)}): the size of a disk is a positive multiple of ${SECTOR_BYTES} bytes`,
    );
  const file = memoryFile(sizeBytes);
  try {
    return mappedFile(file, new AllocationMap(file));
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** Returns the memfd for such a disk. */
export function memoryFile(sizeBytes: number, readOnly = false): ImageFile {
  const name = `mem:${formatSize(sizeBytes)}`;
  return ImageFile.adopt(createMemfd(name, sizeBytes), name, readOnly);
}
