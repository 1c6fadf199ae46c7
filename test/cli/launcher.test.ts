// test/cli: ./belfry, the script of a checkout: called from any folder, Node strips the types of no file twice.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';

const CHECKOUT = join(import.meta.dirname, '../..');

/** What Node logs about its cache while `command --version` runs in `cwd`. */
function cacheLog(command: string, cwd: string): string {
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  const options = { cwd, env: { ...env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }, encoding: 'utf8' } as const;
  const { status, stderr, stdout } = spawnSync(command, ['--version'], options);
  assert.equal(status, 0, stderr);
  return `${stderr}${stdout}`;
}

test('regression: the first file is not stripped again at every start', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-launcher-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(CHECKOUT, 'belfry'), join(folder, 'link'));
  cacheLog('./belfry', CHECKOUT);
  for (const [command, cwd] of [
    ['./belfry', CHECKOUT],
    [join(relative(folder, CHECKOUT), 'belfry'), folder],
    ['./link', folder],
  ] as const) {
    const first = cacheLog(command, cwd)
      .split('\n')
      .filter((line) => line.includes('for StrippedTypeScript') && line.includes('/bin/belfry.ts'));
    assert.match(first.join('\n'), /retrieving transpile cache .*success/, command);
  }
});

test('regression: help and examples call the command as it was called', () => {
  for (const words of [['serve'], ['serve', 'blk'], ['serve', 'rng'], ['shell'], ['demo'], ['run'], ['bench', 'blk']]) {
    const { stdout } = spawnSync('./belfry', [...words, '--help'], { cwd: CHECKOUT, encoding: 'utf8' });
    assert.match(stdout, /\n {2}\.\/belfry /);
    assert.doesNotMatch(stdout, /\n {2}belfry /, `belfry ${words.join(' ')}`);
  }
  const { stdout } = spawnSync('./belfry', ['serve', 'blk', '--help'], { cwd: CHECKOUT, encoding: 'utf8' });
  assert.match(stdout, /^Usage: \.\/belfry serve blk /);
  assert.match(stdout, /\nExamples:\n {2}\.\/belfry serve blk disk\.img /);
  const env = { ...process.env, PATH: `${CHECKOUT}:${process.env.PATH}` };
  const onPath = spawnSync('belfry', ['--help'], { cwd: '/', env, encoding: 'utf8' }).stdout;
  assert.match(onPath, /^Usage: belfry /);
  assert.match(onPath, /\n {2}belfry demo /);
});
