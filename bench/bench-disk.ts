// bench: the disk that is measured: a file in memory with every block written, removed afterwards.
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = '/dev/shm';
const CHUNK_BYTES = 4 << 20;

export class BenchDisk implements Disposable {
  readonly folder: string;
  readonly path: string;

  /** Throws RangeError where there is not enough memory, or the file system's error. */
  constructor(sizeBytes: number) {
    const { bavail, bsize } = statfsSync(FOLDER);
    if (bavail * bsize < sizeBytes) {
      throw new RangeError(
        `${FOLDER} has ${bavail * bsize} bytes left, the disk takes ${sizeBytes}: use a smaller --size`,
      );
    }
    this.folder = mkdtempSync(join(FOLDER, `belfry-bench-${process.pid}-`));
    this.path = join(this.folder, 'disk.img');
    try {
      fill(this.path, sizeBytes);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Writes every block: a hole would be read from one cached page of zeroes, unlike a real disk. */
function fill(path: string, sizeBytes: number): void {
  const chunk = new Uint32Array(CHUNK_BYTES / 4);
  for (let i = 0, word = 1; i < chunk.length; i++, word = Math.imul(word, 0x9e3779b1) + 1) chunk[i] = word;
  const fd = openSync(path, 'wx', 0o600);
  try {
    for (let at = 0; at < sizeBytes; ) {
      const bytes = new Uint8Array(chunk.buffer, 0, Math.min(CHUNK_BYTES, sizeBytes - at));
      at += writeSync(fd, bytes);
    }
  } finally {
    closeSync(fd);
  }
}
