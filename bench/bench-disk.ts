// bench: the disk that is measured by default: a file in memory with every block written, removed afterwards.
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { checkRoom, filler } from './measured-disk.ts';

const FOLDER = '/dev/shm';

export class BenchDisk implements Disposable {
  /** A folder of its own, with room for sockets. */
  readonly folder: string;
  readonly paths: readonly string[];
  readonly sizeBytes: number;
  readonly readOnly = false;

  /** @param images how many of `sizeBytes` each. Throws RangeError where there is not enough memory, or SystemError. */
  constructor(sizeBytes: number, images = 1) {
    checkRoom(FOLDER, sizeBytes * images);
    this.sizeBytes = sizeBytes;
    this.folder = mkdtempSync(join(FOLDER, `belfry-bench-${process.pid}-`));
    this.paths = Array.from({ length: images }, (_, i) => join(this.folder, i === 0 ? 'disk.img' : `disk-${i}.img`));
    try {
      for (const path of this.paths) fill(path, sizeBytes);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The first image. */
  get path(): string {
    return this.paths[0] as string;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Writes every block: a hole would be read from one cached page of zeroes, unlike a real disk. */
function fill(path: string, sizeBytes: number): void {
  const chunk = filler();
  const fd = openSync(path, 'wx', 0o600);
  try {
    for (let at = 0; at < sizeBytes; ) at += writeSync(fd, chunk, 0, Math.min(chunk.length, sizeBytes - at));
  } finally {
    closeSync(fd);
  }
}
