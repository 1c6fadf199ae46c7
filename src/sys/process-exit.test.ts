// Ending a process whose threads do not return. Each test uses a child process.
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { libc } from './libc.ts';
import { killAfter } from './process-exit.ts';

const module = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
const IMPORTS = `
  const { exitNow, killAfter } = await import(${module('process-exit.ts')});
  const { Worker } = await import('node:worker_threads');
  const { once } = await import('node:events');`;
const NODE = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e'];

function run(program: string): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...NODE, IMPORTS + program], { encoding: 'utf8' });
}

/** A worker whose thread sleeps in C for ever: process.exit waits for it. */
const STUCK = `
  const { parentPort } = await import('node:worker_threads');
  const { libc } = await import(${module('libc.ts')});
  parentPort.postMessage('stuck');
  libc.pause();`;
const STUCK_WORKER = `
  const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(STUCK)})));
  await once(worker, 'message');`;

test('exitNow ends the process with its code, and runs nothing on the way', () => {
  const { status, stdout } = run(`process.on('exit', () => console.log('exit')); exitNow(3);`);
  assert.deepEqual([status, stdout], [3, '']);
});

test('exitNow does not wait for a worker thread', () => {
  assert.equal(run(`${STUCK_WORKER} exitNow(0);`).status, 0);
});

test('killAfter ends a process whose main thread never returns', () => {
  assert.equal(run(`killAfter(1); for (;;);`).signal, 'SIGALRM');
});

test('killAfter ends a process that waits for a worker thread to end', () => {
  assert.equal(run(`${STUCK_WORKER} killAfter(1); await new Promise(() => {});`).signal, 'SIGALRM');
});

test('killAfter ends a process that listens to SIGALRM or was started without it', () => {
  assert.equal(run(`process.on('SIGALRM', () => {}); killAfter(1); for (;;);`).signal, 'SIGALRM');
  const ignoring = `trap '' ALRM; exec "$0" "$@"`;
  const argv = ['-c', ignoring, process.execPath, ...NODE, `${IMPORTS} killAfter(1); for (;;);`];
  assert.equal(spawnSync('sh', argv).signal, 'SIGALRM');
});

test('killAfter(0) takes it back', () => {
  killAfter(1000);
  killAfter(0);
  assert.equal(libc.alarm(0), 0, 'seconds that are left');
});

test('killAfter ends the first process of a container, which no default action kills', (t) => {
  if (process.getuid?.() !== 0) return t.skip('a PID namespace needs root');
  const program = `${IMPORTS} console.log(process.pid); killAfter(1); for (;;);`;
  const argv = ['--pid', '--fork', '--kill-child', process.execPath, ...NODE, program];
  const { status, stdout, stderr } = spawnSync('unshare', argv, { encoding: 'utf8' });
  assert.deepEqual([status, stdout], [14, '1\n'], stderr);
});
