// guests: a guest's process group is bounded in time and killed, shown with a shell in the guest's place.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { eventually, patience } from '../src/testing/patience.ts';
import { runGuestProcess } from './guest-process.ts';

// Prints the process ids of itself and of a child, then waits for ever.
const FAMILY = { file: 'sh', words: ['-c', 'sleep 1000 & echo $$ $!; wait'] };

// A killed orphan may linger as a zombie until its new parent reaps it: that counts as gone.
async function isGone(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return status === '' || /\) Z /.test(status);
}

async function expectGone(pids: readonly number[]): Promise<void> {
  assert.ok(pids.length > 0 && pids.every((pid) => pid > 0), `no process ids: ${pids.join(' ')}`);
  await eventually(`the end of ${pids.join(' ')}`, async () => (await Promise.all(pids.map(isGone))).every(Boolean));
}

function pidsIn(lines: readonly string[]): number[] {
  return lines.join(' ').split(' ').map(Number);
}

test('the exit code and every line of both outputs are reported', async () => {
  const lines: string[] = [];
  const command = { file: 'sh', words: ['-c', 'echo one; echo two >&2; exit 3'] };
  const exit = await runGuestProcess(command, { onLine: (line) => lines.push(line) });
  assert.deepEqual(exit, { kind: 'exited', code: 3 });
  assert.deepEqual(lines.sort(), ['one', 'two']);
});

test('a guest that prints nothing any more is killed with its children', async () => {
  const lines: string[] = [];
  const exit = await runGuestProcess(FAMILY, { silenceMs: patience(1000), onLine: (line) => lines.push(line) });
  assert.deepEqual(exit, { kind: 'silent' });
  await expectGone(pidsIn(lines));
});

test('a guest may run longer than its silence limit as long as it prints something', async () => {
  const lines: string[] = [];
  const silenceMs = patience(1000);
  // Prints five times as often as it has to, for one and a half times the limit.
  const pause = `sleep ${silenceMs / 5000}`;
  const command = { file: 'sh', words: ['-c', `for i in 1 2 3 4 5 6 7 8; do echo $i; ${pause}; done`] };
  const exit = await runGuestProcess(command, { silenceMs, onLine: (line) => lines.push(line) });
  assert.deepEqual([exit, lines.length], [{ kind: 'exited', code: 0 }, 8]);
});

test('an abort kills the guest with its children and throws the reason', async () => {
  const abort = new AbortController();
  const lines: string[] = [];
  const onLine = (line: string): void => {
    lines.push(line);
    abort.abort(new Error('enough'));
  };
  await assert.rejects(runGuestProcess(FAMILY, { onLine, signal: abort.signal }), /enough/);
  await expectGone(pidsIn(lines));
});

test('a program that does not exist is an error that names it', async () => {
  const command = { file: '/nowhere/linux', words: [] };
  await assert.rejects(runGuestProcess(command, { onLine: () => {} }), /\/nowhere\/linux/);
});

test('the guest is killed when this process is killed', async () => {
  const program = `
    import { runGuestProcess } from '${new URL('./guest-process.ts', import.meta.url).href}';
    await runGuestProcess(${JSON.stringify(FAMILY)}, { onLine: (line) => console.log(line) });`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Uint8Array];
  parent.kill('SIGKILL');
  await expectGone(pidsIn([new TextDecoder().decode(line).trim()]));
});
