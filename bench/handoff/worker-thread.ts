// bench/handoff: the worker's thread, in each of the three designs.
import { workerData } from 'node:worker_threads';
import { BlockDevice, type BlockStore, reopenStore } from '../../src/index.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { areasOf, guestMemoryOf, ringFeatures } from '../threads/ring-memory.ts';
import { serveJobs, threadSeconds } from '../threads/serve-jobs.ts';
import { runUntilStopped, SleepCounter, startQueue } from '../threads/served-queue.ts';
import { StopWord } from '../threads/shared-queue.ts';
import { HandedWorker } from './handed-worker.ts';
import type { Design, HandoffCounts, HandoffJob, HandoffSetup } from './handoff-job.ts';
import { RequestQueue } from './request-queue.ts';
import { OwnedQueue, serveWhenWoken } from './woken-worker.ts';

const setup = workerData as HandoffSetup;
const memory = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const requests = new RequestQueue(setup.requests, setup.requestsMax);
const stop = new StopWord(setup.stop);
const call = EventFd.borrow(setup.callFd);
const disk = reopenStore(setup.store);
/** Without `prefetch`: only designs that see a whole batch could use it, and the handoff is what is compared. */
const store: BlockStore = { sizeBytes: disk.sizeBytes, read: (offset, into) => disk.read(offset, into) };
const device = new BlockDevice(store);

serveJobs<HandoffJob>(async (job, ready): Promise<HandoffCounts> => {
  pinThread(0, job.cpu);
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  const counts = await serveAs[job.design](job, ready);
  return {
    ...counts,
    cpuSeconds: threadSeconds() - startSeconds,
    involuntarySwitches: involuntarySwitches() - switches,
  };
});

type Served = Pick<HandoffCounts, 'requests' | 'wakeUps'>;
type Serve = (job: HandoffJob, ready: () => void) => Served | Promise<Served>;

const serveAs: { readonly [design in Design]: Serve } = {
  parse({ plan, eventIdx }, ready) {
    const worker = new HandedWorker({ memory, plan, eventIdx, requests, store, call: () => call.signal() });
    ready();
    worker.run(stop);
    return { requests: worker.requests, wakeUps: worker.wakeUps };
  },
  wake({ plan, eventIdx }, ready) {
    const ring = { size: plan.size, areas: areasOf(memory, plan), memory: guestMemoryOf(memory) };
    const owned = new OwnedQueue(device, ring, { features: ringFeatures(eventIdx), notify: () => call.signal() });
    ready();
    const wakeUps = serveWhenWoken(owned, requests.monitor, stop);
    return { requests: owned.queue.counters.requests, wakeUps };
  },
  async none({ plan, eventIdx }, ready) {
    const sleeps = new SleepCounter(undefined);
    using loop = new EventLoop(sleeps);
    const { kickFd, stopFd } = setup;
    const counters = startQueue(loop, { device, memory, plan, eventIdx, kickFd, call: () => call.signal() });
    ready();
    await runUntilStopped(loop, stopFd);
    return { requests: counters.requests, wakeUps: sleeps.wakeUps };
  },
};
