// testing: a file system in memory that is small enough to be filled.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { patience } from './patience.ts';

/** Mounts a tmpfs of `sizeBytes` until the test ends. Returns its folder; undefined where it skips the test. */
export function mountTmpfs(context: TestContext, sizeBytes: number): string | undefined {
  if (process.getuid?.() !== 0) return void context.skip('mounting a tmpfs needs root');
  const folder = mkdtempSync(join(tmpdir(), 'belfry-mount-'));
  const options = ['-t', 'tmpfs', '-o', `size=${sizeBytes}`];
  if (spawnSync('mount', [...options, 'tmpfs', folder], { timeout: patience(10_000) }).status !== 0) {
    rmSync(folder, { recursive: true });
    return void context.skip('mounting a tmpfs is not possible here');
  }
  context.after(() => {
    execFileSync('umount', ['--lazy', folder], { timeout: patience(10_000) });
    rmSync(folder, { recursive: true });
  });
  return folder;
}
