// bench/stress: the device's thread: the real event loop, queue runner and queue around a device of whims.
import { workerData } from 'node:worker_threads';
import { pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { QueueRunner } from '../../src/transports/queue/running-queue.ts';
import type { QueueOptions } from '../../src/virtio/device-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { splitLayoutAt } from '../../src/virtio/split/split-ring.ts';
import { GUEST_BASE } from '../threads/ring-memory.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { Pauses } from './pauses.ts';
import { SideWords } from './side-words.ts';
import { PausingQueue, RandomPoll, StressDevice } from './stress-device.ts';
import type { DeviceStressCounts, StressJob, StressSetup } from './stress-job.ts';

const setup = workerData as StressSetup;
const memory = new DriverMemory(Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes).bytes, GUEST_BASE);
const words = new SideWords(setup.deviceWords);
const call = EventFd.borrow(setup.callFd);
const stop = EventFd.borrow(setup.stopFd);

serveJobs<StressJob>((job, ready): DeviceStressCounts => {
  pinThread(0, job.deviceCpu);
  const random = new SeededRandom(job.seed);
  using loop = new EventLoop(new RandomPoll(random, words));
  const pauses = new Pauses(random);
  const options: QueueOptions = {
    features: job.features,
    base: job.start,
    notify: () => {
      words.sends();
      call.signal();
    },
  };
  const guest = new GuestMemory([memory]);
  const queue = new PausingQueue(
    splitLayoutAt(memory, job.size, job.addresses),
    guest,
    options,
    pauses,
    job.mutation === 'device-forgets',
  );
  words.at(job.start, 0, 0);
  const device = new StressDevice({ queue, loop, random, pauses, words });
  let problem: Error | undefined;
  new QueueRunner(queue, device, 0, loop, setup.kickFd, (error) => {
    problem = error;
    loop.stop();
  });
  loop.watch(setup.stopFd, {
    readable: () => {
      stop.clear();
      loop.stop();
    },
  });
  ready();
  loop.run();
  if (problem !== undefined) throw problem;
  return { batches: queue.counters.batches, kicksSeen: queue.counters.kicks };
});
