// bench: brings an image into the state in which it is measured: nothing to be written back, all of it cached or none.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { formatSize } from '../src/index.ts';

export const CACHES = ['cached', 'direct'] as const;
/** `cached`: by way of the page cache, which has all of the image. `direct`: with O_DIRECT, and none of it is cached. */
export type Cache = (typeof CACHES)[number];

const CHUNK_BYTES = 4 << 20;

/**
 * Writes back what is dirty; then reads all of the image into the page cache, or drops it from there. Throws the
 * signal's reason and what the file system throws.
 */
export async function settle(path: string, cache: Cache, signal?: AbortSignal): Promise<void> {
  await using file = await open(path);
  await file.datasync();
  if (cache === 'direct') return dropFromCache(path);
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (let at = 0, got = 1; got > 0; at += got) {
    signal?.throwIfAborted();
    got = (await file.read(chunk, 0, chunk.length, at)).bytesRead;
  }
}

/** dd(1), "Advise to drop cache for whole file": posix_fadvise(2), which Node does not have. */
function dropFromCache(path: string): void {
  const { status, error, stderr } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
  if (error !== undefined || status !== 0)
    throw new Error(`dd cannot drop ${path} from the page cache: ${error?.message ?? `${stderr}`.trim()}`);
}

/** Throws RangeError where images of `sizeBytes` in all would not stay in the page cache. */
export function checkFitsInMemory(sizeBytes: number): void {
  const [, kibibytes = '0'] = /^MemAvailable:\s*(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  const available = Number(kibibytes) * 1024;
  if (sizeBytes <= available / 2) return;
  throw new RangeError(
    `an image of ${formatSize(sizeBytes)} is not measured cached where ${formatSize(available - (available % (1 << 20)))} of memory are free: use less than half of that (--size), or O_DIRECT (--cells direct, --direct)`,
  );
}
