// SIGBUS: which thread is parked, how another one detects it, and what still ends the process. In child processes.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

/** A worker that posts its thread id, and touches the second page of a memfd when it gets a message. */
const WORKER = `
  const { parentPort, workerData } = await import('node:worker_threads');
  const { Mapping } = await import(${module('mapping.ts')});
  const { threadId } = await import(${module('thread-signal.ts')});
  const { dieOnBusError, parkOnBusError } = await import(${module('bus-error.ts')});
  const memory = Mapping.ofFile(workerData.fd, 8192);
  if (workerData.parks) parkOnBusError();
  parentPort.once('message', () => {
    for (let i = 0; i < 8192; i++) memory.bytes[i]++;
    parentPort.postMessage('done');
  });
  parentPort.postMessage(threadId());`;

const MAIN = `
  const { Worker } = await import('node:worker_threads');
  const { once } = await import('node:events');
  const { ftruncateSync } = await import('node:fs');
  const { libc } = await import(${module('libc.ts')});
  const { callScratch } = await import(${module('scratch.ts')});
  const { Mapping } = await import(${module('mapping.ts')});
  const { dieOnBusError, isParked } = await import(${module('bus-error.ts')});
  const { exitNow } = await import(${module('process-exit.ts')});
  const { signalThread } = await import(${module('thread-signal.ts')});
  const fd = libc.memfd_create(callScratch.cString(0, 'truncated'), 0);
  ftruncateSync(fd, 8192);
  const own = Mapping.ofFile(fd, 8192);
  dieOnBusError();
  async function start(parks) {
    const url = new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(WORKER)}));
    const worker = new Worker(url, { workerData: { fd, parks } });
    const [thread] = await once(worker, 'message');
    return { worker, thread };
  }
  const parked = async (thread) => { while (!isParked(thread)) await new Promise(setImmediate); };
`;

function run(program: string): unknown {
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', MAIN + program];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  return { end: signal ?? status, stdout, stderr };
}

test('regression: a thread that touches memory that is gone sleeps, and the main thread sees it and goes on', () => {
  const program = `
    const { worker, thread } = await start(true);
    console.log(isParked(thread));
    ftruncateSync(fd, 4096);
    worker.postMessage('touch');
    await parked(thread);
    process.stdout.write('parked\\n', () => exitNow(3));`;
  assert.deepEqual(run(program), { end: 3, stdout: 'false\nparked\n', stderr: '' });
});

test('regression: a thread that blocks every signal, as the C library does while it starts another, has lost nothing', () => {
  const program = `
    const worker = new Worker(\`
      const { parentPort } = await import('node:worker_threads');
      const { libc } = await import(${module('libc.ts')});
      const { callScratch } = await import(${module('scratch.ts')});
      const { threadId } = await import(${module('thread-signal.ts')});
      const { parkOnBusError } = await import(${module('bus-error.ts')});
      parkOnBusError();
      callScratch.bytes.fill(0xff, 0, 128);
      libc.pthread_sigmask(0, callScratch.address, 0n);
      parentPort.postMessage(threadId());
      setInterval(() => {}, 1e6);\`, { eval: true });
    const [thread] = await once(worker, 'message');
    process.stdout.write(isParked(thread) + '\\n', () => exitNow(0));`;
  assert.deepEqual(run(program), { end: 0, stdout: 'false\n', stderr: '' });
});

test('a thread that loses nothing goes on beside one that sleeps', () => {
  const program = `
    const first = await start(true);
    ftruncateSync(fd, 4096);
    first.worker.postMessage('touch');
    await parked(first.thread);
    ftruncateSync(fd, 8192);
    const second = await start(true);
    second.worker.postMessage('touch');
    const [done] = await once(second.worker, 'message');
    process.stdout.write([done, isParked(first.thread), isParked(second.thread)].join() + '\\n', () => exitNow(0));`;
  assert.deepEqual(run(program), { end: 0, stdout: 'done,true,false\n', stderr: '' });
});

test('a signal to the sleeping thread does not wake it for long: it sleeps again, or goes on where the memory is back', () => {
  const program = `
    process.on('SIGUSR2', () => {});
    const { worker, thread } = await start(true);
    ftruncateSync(fd, 4096);
    worker.postMessage('touch');
    await parked(thread);
    const received = once(process, 'SIGUSR2');
    signalThread(thread, 12);
    await received;
    await parked(thread);
    console.log('parked again');
    ftruncateSync(fd, 8192);
    signalThread(thread, 12);
    await once(worker, 'message');
    process.stdout.write(String(isParked(thread)) + '\\n', () => exitNow(0));`;
  assert.deepEqual(run(program), { end: 0, stdout: 'parked again\nfalse\n', stderr: '' });
});

test('an access of the main thread ends the process, as by default', () => {
  const program = `
    await start(true);
    ftruncateSync(fd, 4096);
    own.bytes[5000]++;`;
  assert.deepEqual(run(program), { end: 'SIGBUS', stdout: '', stderr: '' });
});

test('so does a thread that inherited the choice of the main thread', () => {
  const program = `
    await start(true);
    const { worker } = await start(false);
    ftruncateSync(fd, 4096);
    worker.postMessage('touch');`;
  assert.deepEqual(run(program), { end: 'SIGBUS', stdout: '', stderr: '' });
});

test('a sleeping thread does not hold up a signal that ends the process', () => {
  const program = `
    const { worker, thread } = await start(true);
    ftruncateSync(fd, 4096);
    worker.postMessage('touch');
    await parked(thread);
    process.kill(process.pid, 'SIGTERM');`;
  assert.deepEqual(run(program), { end: 'SIGTERM', stdout: '', stderr: '' });
});
