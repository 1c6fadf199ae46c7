// test/microvm: an empty image for a disk of a microVM.
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const DISK_BYTES = 64 * 2 ** 20;

export async function makeDisk(folder: string, name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '');
  await truncate(path, DISK_BYTES);
  return path;
}
