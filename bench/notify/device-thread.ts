// bench/notify: the device's thread: the real queue and block device, behind the doorbell it is told.
import { workerData } from 'node:worker_threads';
import { pollPolicy } from '../../src/daemon/poll-mode.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
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
import type { DeviceCounts, DeviceJob, DeviceSetup } from './device-job.ts';

const setup = workerData as DeviceSetup;
const memory = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const device = new BlockDevice(reopenStore(setup.store));
const call = EventFd.borrow(setup.callFd);
const stop = new StopWord(setup.stop);
/** From the start on: an unblocked signal would end the process. */
const doorbells = { signal: openDoorbell('signal', setup.kickFd), eventfd: openDoorbell('eventfd', setup.kickFd) };

serveJobs<DeviceJob>((job, ready): DeviceCounts => {
  pinThread(0, job.cpu);
  const policy = pollPolicy(job.poll);
  const ring = { size: job.plan.size, areas: areasOf(memory, job.plan), memory: guestMemoryOf(memory) };
  const options = { features: ringFeatures(job.eventIdx), notify: () => call.signal() };
  const owned = new OwnedQueue(device, ring, options);
  const { queue } = owned;
  const doorbell = doorbells[job.doorbell];
  const loop = new DeviceLoop({ owned, doorbell, policy, stop, forgetful: job.forgetful });
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  ready();
  loop.run();
  return {
    requests: queue.counters.requests,
    calls: queue.counters.calls,
    wakeUps: loop.wakeUps,
    cpuSeconds: threadSeconds() - startSeconds,
    involuntarySwitches: involuntarySwitches() - switches,
  };
});
