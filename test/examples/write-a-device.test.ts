// test/examples: every block of docs/write-a-device.md, written into a folder and run unchanged.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { patience } from '../../src/testing/patience.ts';
import { startBelfry } from '../cli/belfry-process.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'belfry-docs-'));
after(() => rmSync(folder, { recursive: true }));

const page = readFileSync(join(CHECKOUT, 'docs/write-a-device.md'), 'utf8');
const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({
  language,
  text: text ?? '',
}));
const files = blocks.filter(({ language }) => language === 'ts');
const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ text }) => text.trimEnd().split('\n'));

for (const { text } of files) writeFileSync(join(folder, /^\/\/ (\S+\.ts)\n/.exec(text)?.[1] as string), text);

/** Where no Belfry is installed: `from 'belfry'` is the one of this checkout. */
const sharing = join(folder, 'sharing.ts');
writeFileSync(
  sharing,
  `import { shareRunningCopy } from ${JSON.stringify(join(CHECKOUT, 'src/daemon/running-copy.ts'))}; shareRunningCopy();`,
);

/** A line of the page, in this folder. */
const here = (line: string): string => line.replaceAll('/tmp/', `${folder}/`);

test('the page has blocks of TypeScript, which name their files, and of commands, and no others', () => {
  assert.ok(files.length >= 4 && commands.length >= 5);
  assert.equal(files.length + blocks.filter(({ language }) => language === 'sh').length, blocks.length);
});

for (const line of commands) {
  test(`it says: ${line}`, async () => {
    const [, tested] = /^npx node (--test \S+)$/.exec(line) ?? [];
    const [, served] = /^npx belfry (serve .+)$/.exec(line) ?? [];
    if (served !== undefined) {
      const env = { SENSOR: join(folder, 'sensor') };
      await using running = startBelfry(here(served).split(' '), { cwd: folder, env });
      await running.says(/^Serving \S+\.ts \(1 queue, /);
      running.kill('SIGTERM');
      assert.equal((await running.ended).code, 0);
    } else if (tested !== undefined) {
      const words = ['--disable-warning=ExperimentalWarning', `--import=${sharing}`, ...tested.split(' ')];
      const options = { cwd: folder, encoding: 'utf8', timeout: patience(120_000), env: environment() } as const;
      const { status, stdout, stderr } = spawnSync(process.execPath, words, options);
      assert.equal(status, 0, stdout + stderr);
      assert.match(stdout, /pass [1-9]\d/);
    } else {
      assert.equal(spawnSync('sh', ['-c', here(line)], { cwd: folder, encoding: 'utf8' }).stderr, '');
    }
  });
}

/** The environment without the variable that would make the inner tests report to the outer ones. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...others } = process.env;
  return others;
}
