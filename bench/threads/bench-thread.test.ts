// bench/threads: a job on a thread ends with a result or rejects with the thread's error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMainThread } from 'node:worker_threads';
import { BenchThread } from './bench-thread.ts';
import { serveJobs } from './serve-jobs.ts';

type Job = 'answer' | 'throw' | 'throw before it is ready' | 'exit';

function work(job: Job, ready: () => void): number {
  if (job === 'throw before it is ready') throw new Error('not even ready');
  ready();
  if (job === 'throw') throw new Error('no result');
  if (job === 'exit') process.exit(3);
  return 42;
}

if (isMainThread) {
  const program = new URL(import.meta.url);
  const start = (): Promise<BenchThread<Job, number>> => BenchThread.start<Job, number>(program, undefined);

  test('a thread does one job after the other, and has an id of its own', async () => {
    await using thread = await start();
    assert.notEqual(thread.thread, process.pid);
    for (let i = 0; i < 3; i++) {
      const { ready, result } = thread.run('answer');
      await ready;
      assert.equal(await result, 42);
    }
  });

  for (const [job, says] of [
    ['throw', /no result/],
    ['throw before it is ready', /not even ready/],
    ['exit', /ended early/],
  ] as const) {
    test(`a job that does "${job}" rejects, and so does the next`, async () => {
      await using thread = await start();
      const { ready, result } = thread.run(job);
      if (job === 'throw before it is ready') await assert.rejects(ready, says);
      await assert.rejects(result, says);
      await assert.rejects(thread.run('answer').ready, says);
    });
  }

  test('disposing ends the system call that a thread is blocked in', async () => {
    const freed: number[] = [];
    const thread = await BenchThread.start<Job, number>(program, undefined, (id) => freed.push(id));
    await thread[Symbol.asyncDispose]();
    assert.deepEqual(freed, [thread.thread]);
  });
} else {
  serveJobs(work);
}
