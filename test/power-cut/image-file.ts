// test/power-cut: an image as a file, and the programs of this machine that check it and take its files out.
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostShell } from './host-shell.ts';
import type { PagedImage } from './paged-image.ts';
import type { Files } from './promises.ts';

const MEMORY_FOLDER = '/dev/shm';
const IMAGES_BYTES = 256 * 2 ** 20;

/** Returns a folder in memory where it has room for images, else `otherwise`. */
export async function imageFolder(otherwise: string): Promise<string> {
  const free = await statfs(MEMORY_FOLDER).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  return free >= IMAGES_BYTES ? MEMORY_FOLDER : otherwise;
}

/** Writes the image as a sparse file. */
export function writeImage(path: string, image: PagedImage): void {
  rmSync(path, { force: true });
  const file = openSync(path, 'wx');
  try {
    ftruncateSync(file, image.sizeBytes);
    for (const [offset, bytes] of image.content()) writeSync(file, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(file);
  }
}

/** Takes the regular files out of an ext4 image by debugfs(8), through the folder `scratch`, which it makes and removes. */
export async function ext4Files(image: string, scratch: string, shell: HostShell): Promise<Files> {
  await mkdir(scratch);
  try {
    const { code, output } = await shell.run('debugfs', '-R', `rdump / ${scratch}`, image);
    if (code !== 0) throw new Error(`debugfs: ${output}`);
    const entries = readdirSync(scratch, { recursive: true, withFileTypes: true });
    const regular = entries.filter((entry) => entry.isFile());
    return new Map(
      regular.map(({ parentPath, name }) => {
        const path = join(parentPath, name);
        return [path.slice(scratch.length + 1), readFileSync(path)];
      }),
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
