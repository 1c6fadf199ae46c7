// test/cli: what a shell completes, asked of the shell itself.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { patience } from '../../src/testing/patience.ts';
import { belfry, testFolder } from './belfry-process.ts';

async function script(shell: string): Promise<string> {
  const { code, stdout, stderr } = await belfry(['completion', shell]);
  assert.deepEqual([code, stderr], [0, '']);
  return stdout;
}

/** Each line typed so far, and some of what is completed: all of it where it is a list, nothing of ours for files. */
const typed: readonly (readonly [line: string, expected: RegExp])[] = [
  ['belfry ser', /^serve$/],
  ['belfry serve ', /^blk rng console net vsock .*--socket/],
  ['belfry serve blk --eng', /^--engine$/],
  ['belfry serve blk disk.img --engine ', /^auto mapped uring sync$/],
  ['belfry serve blk disk.img --socket ', /^$/],
  ['belfry ctl stats --wat', /^--watch$/],
  ['belfry bench blk --suite d', /^disk$/],
  ['./belfry hvisor st', /^start status$/],
];

test('bash completes commands, flags and the values of flags', async (t) => {
  const folder = testFolder(t);
  const asked = typed.map(([line]) => {
    const words = line.split(' ');
    return `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _belfry; echo "\${COMPREPLY[*]}"`;
  });
  const path = join(folder, 'ask.bash');
  writeFileSync(path, [await script('bash'), ...asked, 'complete -p ./belfry'].join('\n'));
  const { status, stdout, stderr } = spawnSync('bash', ['-u', path], { encoding: 'utf8', timeout: patience(20_000) });
  assert.deepEqual([status, stderr], [0, '']);
  const answers = stdout.split('\n');
  for (const [i, [line, expected]] of typed.entries()) assert.match(answers[i] ?? '', expected, line);
  assert.match(answers[typed.length] ?? '', /-F _belfry \.\/belfry/);
});

for (const shell of ['zsh', 'fish']) {
  test(`${shell} reads its script without a complaint`, async (t) => {
    const path = join(testFolder(t), `completion.${shell}`);
    writeFileSync(path, await script(shell));
    const words = shell === 'zsh' ? ['-f', '-c', `source ${path}`] : ['--no-config', path];
    const { status, stderr, error } = spawnSync(shell, words, { encoding: 'utf8', timeout: patience(20_000) });
    if (error !== undefined) return t.skip(`${shell} is not installed`);
    assert.deepEqual([status, stderr], [0, '']);
  });
}
