// bench/handoff: the worker's thread, in each of the three designs.
import { workerData } from 'node:worker_threads';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { reopenStore } from '../../src/stores/open-store.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { DeviceLoop } from '../threads/device-loop.ts';
import { openDoorbell } from '../threads/doorbell.ts';
import { OwnedQueue } from '../threads/owned-queue.ts';
import { areasOf, guestMemoryOf, ringFeatures } from '../threads/ring-memory.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { StopWord } from '../threads/stop-word.ts';
import { threadSeconds } from '../threads/thread-seconds.ts';
import { HandedWorker } from './handed-worker.ts';
import type { HandoffCounts, HandoffJob, HandoffSetup } from './handoff-job.ts';
import { RequestQueue } from './request-queue.ts';
import { serveWhenWoken } from './woken-worker.ts';

const setup = workerData as HandoffSetup;
const memory = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const requests = new RequestQueue(setup.requests, setup.requestsMax);
const stop = new StopWord(setup.stop);
const call = EventFd.borrow(setup.callFd);
const disk = reopenStore(setup.store);
/** Without `prefetch`: only who has a whole batch at hand could use it, and the handoff is what is compared. */
const store: BlockStore = { sizeBytes: disk.sizeBytes, read: (offset, into) => disk.read(offset, into) };
const device = new BlockDevice(store);

serveJobs<HandoffJob>((job, ready): HandoffCounts => {
  pinThread(0, job.cpu);
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  const counts = job.design === 'parse' ? serveHanded(job, ready) : serveOwned(job, ready);
  return {
    ...counts,
    cpuSeconds: threadSeconds() - startSeconds,
    involuntarySwitches: involuntarySwitches() - switches,
  };
});

type Served = Pick<HandoffCounts, 'requests' | 'wakeUps'>;

function serveHanded({ plan, eventIdx }: HandoffJob, ready: () => void): Served {
  const worker = new HandedWorker({ memory, plan, eventIdx, requests, store, call: () => call.signal() });
  ready();
  worker.run(stop);
  return { requests: worker.requests, wakeUps: worker.wakeUps };
}

function serveOwned({ design, plan, eventIdx }: HandoffJob, ready: () => void): Served {
  const ring = { size: plan.size, areas: areasOf(memory, plan), memory: guestMemoryOf(memory) };
  const options = { features: ringFeatures(eventIdx), notify: () => call.signal() };
  const owned = new OwnedQueue(device, ring, options);
  const { counters } = owned.queue;
  if (design === 'wake') {
    ready();
    const wakeUps = serveWhenWoken(owned, requests.monitor, stop);
    return { requests: counters.requests, wakeUps };
  }
  using doorbell = openDoorbell('eventfd', setup.kickFd);
  const loop = new DeviceLoop({ owned, doorbell, policy: undefined, stop, forgetful: false });
  ready();
  loop.run();
  return { requests: counters.requests, wakeUps: loop.wakeUps };
}
