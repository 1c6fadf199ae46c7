// A spare thread does not keep the process from ending, nor ends it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { patience } from '../testing/patience.ts';

const SPARE = new URL('./spare-thread.ts', import.meta.url).href;

for (const [what, program] of [
  ['has loaded its program', 'data:text/javascript,'],
  ['could not load its program', 'file:///no/such/program.ts'],
] as const) {
  test(`an unused thread that ${what} does not keep the process from ending, nor ends it`, () => {
    const source = `import(${JSON.stringify(SPARE)}).then(({ SpareThread }) => {
      new SpareThread(new URL(${JSON.stringify(program)}));
      // Ends when a thread that started after it has exited.
      new (require('node:worker_threads').Worker)('', { eval: true }).once('exit', () => console.log('the end'));
    });`;
    const argv = ['--disable-warning=ExperimentalWarning', '--eval', source];
    const { status, stdout, stderr } = spawnSync(process.execPath, argv, {
      encoding: 'utf8',
      timeout: patience(20_000),
    });
    assert.deepEqual([status, stdout, stderr], [0, 'the end\n', '']);
  });
}
