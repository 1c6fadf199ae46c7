// guests: a guest's process is bounded and leaves nothing behind, shown with a shell in the guest's place.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { runGuestProcess } from './guest-process.ts';

// Prints the process ids of itself and of a child, then waits for ever.
const FAMILY = { file: 'sh', words: ['-c', 'sleep 1000 & echo $$ $!; wait'] };

// A killed orphan may linger as a zombie until its new parent reaps it: that counts as gone.
async function isGone(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return status === '' || /\) Z /.test(status);
}

async function expectGone(pids: readonly number[]): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if ((await Promise.all(pids.map(isGone))).every(Boolean)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`of ${pids.join(' ')} some are still there`);
}

function pidsIn(lines: readonly string[]): number[] {
  return lines.join(' ').split(' ').map(Number);
}

test('the exit code and every line of both outputs are reported', async () => {
  const lines: string[] = [];
  const command = { file: 'sh', words: ['-c', 'echo one; echo two >&2; exit 3'] };
  const exit = await runGuestProcess(command, { timeoutMs: 10_000, onLine: (line) => lines.push(line) });
  assert.deepEqual(exit, { kind: 'exited', code: 3 });
  assert.deepEqual(lines.sort(), ['one', 'two']);
});

test('a guest that does not end is killed with its children when its time is up', async () => {
  const lines: string[] = [];
  const exit = await runGuestProcess(FAMILY, { timeoutMs: 500, onLine: (line) => lines.push(line) });
  assert.deepEqual(exit, { kind: 'timed-out' });
  await expectGone(pidsIn(lines));
});

test('an abort kills the guest with its children and throws the reason', async () => {
  const abort = new AbortController();
  const lines: string[] = [];
  const onLine = (line: string): void => {
    lines.push(line);
    abort.abort(new Error('enough'));
  };
  await assert.rejects(runGuestProcess(FAMILY, { timeoutMs: 10_000, onLine, signal: abort.signal }), /enough/);
  await expectGone(pidsIn(lines));
});

test('a program that does not exist is an error that names it', async () => {
  const command = { file: '/nowhere/linux', words: [] };
  await assert.rejects(runGuestProcess(command, { timeoutMs: 10_000, onLine: () => {} }), /\/nowhere\/linux/);
});

test('the guest dies with us even when we are killed', async () => {
  const program = `
    import { runGuestProcess } from '${new URL('./guest-process.ts', import.meta.url).href}';
    await runGuestProcess(${JSON.stringify(FAMILY)}, { timeoutMs: 60000, onLine: (line) => console.log(line) });`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Uint8Array];
  parent.kill('SIGKILL');
  await expectGone(pidsIn([new TextDecoder().decode(line).trim()]));
});
