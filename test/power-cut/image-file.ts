// test/power-cut: an image as a file, and the programs of this machine that check it and take its files out.
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { PeerMissingError } from '../../guests/guest-peer.ts';
import { findExecutable } from '../../guests/guest-programs.ts';
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

export interface Ended {
  readonly code: number;
  /** The first lines of its output that say something. */
  readonly output: string;
}

/**
 * Runs a program of this machine to its end. Throws `PeerMissingError` where it is not installed, and the signal's reason
 * when aborted.
 */
export async function runProgram(words: readonly string[], signal?: AbortSignal): Promise<Ended> {
  const [name = '', ...args] = words;
  const file = await findExecutable(name);
  if (file === undefined) throw new PeerMissingError(`${name} is not installed`);
  return await new Promise((resolve, reject) => {
    execFile(
      file,
      args,
      { ...(signal && { signal }), env: { ...process.env, LC_ALL: 'C' } },
      (error, stdout, stderr) => {
        if (signal?.aborted) return reject(signal.reason);
        if (error && typeof error.code !== 'number') return reject(error);
        resolve({ code: Number(error?.code ?? 0), output: mainLines(`${stdout}${stderr}`) });
      },
    );
  });
}

/** What a checker prints whatever it finds. */
const NOISE = /^(?:Pass \d|Phase \d|e2fsck \d|\s*-|\s*$)|WARNING: Filesystem still has errors/;
const LINES_MAX = 4;

function mainLines(text: string): string {
  const lines = text.split('\n').filter((line) => !NOISE.test(line));
  return lines.slice(0, LINES_MAX).join(' / ');
}

/** Takes the regular files out of an ext4 image by debugfs(8), through the folder `scratch`, which it makes and removes. */
export async function ext4Files(image: string, scratch: string, signal?: AbortSignal): Promise<Files> {
  await mkdir(scratch);
  try {
    const { code, output } = await runProgram(['debugfs', '-R', `rdump / ${scratch}`, image], signal);
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
