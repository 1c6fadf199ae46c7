// testing: a block device whose blocks are as large as a test wants, made of a file.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { patience } from './patience.ts';

/** A loop device. Disposing of it removes it and its file. */
export interface LoopDevice extends Disposable {
  readonly path: string;
}

/** Makes a loop device of `sizeBytes` with logical blocks of `blockBytes`. Returns the reason where it cannot. */
export function makeLoopDevice(sizeBytes: number, blockBytes: number): LoopDevice | string {
  if (process.getuid?.() !== 0) return 'a loop device needs root';
  const folder = mkdtempSync(join(tmpdir(), 'belfry-loop-'));
  const file = join(folder, 'device.img');
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const words = ['--find', '--show', '--sector-size', String(blockBytes), file];
  const { status, stdout } = spawnSync('losetup', words, { encoding: 'utf8', timeout: patience(10_000) });
  const path = stdout?.trim();
  if (status !== 0) {
    rmSync(folder, { recursive: true });
    return 'this machine makes no loop device';
  }
  return {
    path,
    [Symbol.dispose]: () => {
      execFileSync('losetup', ['--detach', path], { timeout: patience(10_000) });
      rmSync(folder, { recursive: true });
    },
  };
}
