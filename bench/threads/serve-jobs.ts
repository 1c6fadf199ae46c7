// bench/threads: the main loop of a thread that does one job after the other, and its processor time.
import { parentPort } from 'node:worker_threads';
import { threadId } from '../../src/sys/thread-signal.ts';
import type { FromBenchThread } from './bench-thread.ts';

/** Calls `work` with each job that arrives; it calls `ready` when it begins to serve. If it throws, the thread ends. */
export function serveJobs<Job>(work: (job: Job, ready: () => void) => unknown): void {
  const tell = (message: FromBenchThread): void => parentPort?.postMessage(message);
  parentPort?.on('message', async (job: Job) => {
    tell({ type: 'done', result: await work(job, () => tell({ type: 'ready' })) });
  });
  tell({ type: 'up', thread: threadId() });
}

/** Processor time of the calling thread. Exact, unlike the ticks of /proc. getrusage(2), RUSAGE_THREAD. */
export function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}
