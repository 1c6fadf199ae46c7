// test: a thread that rings an eventfd without end, as a hostile front end or a broken driver may.
import { once } from 'node:events';
import { startThread } from '../src/sys/thread.ts';
import { eventually } from '../src/testing/patience.ts';

const STORM = `
import { workerData } from 'node:worker_threads';
const { EventFd } = await import(workerData.eventFd);
const bell = EventFd.borrow(workerData.fd);
for (let i = 1; Atomics.load(workerData.word, 0) === 0; i++) {
  bell.signal();
  Atomics.store(workerData.word, 1, i);
}`;

export interface KickStorm extends AsyncDisposable {
  /** How often it has rung. */
  readonly rings: number;
}

/** Rings `fd`, which stays the caller's, from now until disposed. */
export async function startKickStorm(fd: number): Promise<KickStorm> {
  const word = new Int32Array(new SharedArrayBuffer(8));
  const eventFd = new URL('../src/sys/event-fd.ts', import.meta.url).href;
  const url = new URL(`data:text/javascript,${encodeURIComponent(STORM)}`);
  const worker = startThread(url, { workerData: { fd, word, eventFd } });
  const exited = once(worker, 'exit');
  await eventually('the first ring', () => Atomics.load(word, 1) > 0);
  return {
    get rings() {
      return Atomics.load(word, 1);
    },
    async [Symbol.asyncDispose]() {
      Atomics.store(word, 0, 1);
      await exited;
    },
  };
}
