// bench: a back end that does not start says why, in one line.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BackEndProcess } from './back-end-process.ts';
import { allowedProcessors } from './processor-use.ts';

const cpu = allowedProcessors().at(-1) ?? 0;

/** Starts a program of one line as a back end. */
function startScript(script: string): Promise<BackEndProcess> {
  const command = [process.execPath, '--eval', script];
  return BackEndProcess.start({ name: 'it', command, socket: '/nowhere/it.sock' }, cpu);
}

test('a back end that ends before it listens: the message has its last line', async () => {
  const ends = startScript("console.log('first'); console.error('no such disk'); process.exitCode = 3");
  await assert.rejects(ends, { message: 'it ended (exit 3): no such disk' });
  await assert.rejects(startScript(''), { message: 'it ended (exit 0): it printed nothing' });
});

test('regression: of a Node program that crashes the message has the error, not the version of Node', async () => {
  await assert.rejects(startScript("throw new TypeError('a map is missing')"), {
    message: 'it ended (exit 1): TypeError: a map is missing',
  });
});
