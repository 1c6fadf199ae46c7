// bench/stress: the device's thread: the real event loop, queue runner and queue around a device that acts at random.
import { workerData } from 'node:worker_threads';
import { pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { DriverMemory, type RingAreas, SeededRandom } from '../../src/testing/index.ts';
import { RunningQueue } from '../../src/transports/queue/running-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { InFlightLimit } from '../../src/virtio/in-flight-limit.ts';
import { newQueueCounters } from '../../src/virtio/queue-counters.ts';
import type { AreaBytes } from '../../src/virtio/ring-format.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';
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
const { kickFd } = setup;

const guest = new GuestMemory([memory]);

serveJobs<StressJob>(async (job, ready): Promise<DeviceStressCounts> => {
  pinThread(0, job.deviceCpu);
  const random = new SeededRandom(job.seed);
  using loop = new EventLoop(new RandomPoll(random, words));
  const pauses = new Pauses(random);
  words.at(job.start, 0, 0);
  const counters = newQueueCounters();
  const device = new StressDevice({ loop, random, pauses, words });
  const problems: string[] = [];
  const around = {
    device,
    loop,
    counters,
    inFlight: new InFlightLimit(),
    log: (line: string) => {
      problems.push(line);
      loop.stop();
    },
  };
  const rung = {
    notify: () => {
      words.sends();
      call.signal();
    },
  };
  const { size, features, start: base, addresses } = job;
  const setup = { ...addresses, size, features, base, kickFd, call: rung, errFd: undefined };
  const ring = new SplitRing(size, areasAt(addresses, size));
  const isForgetful = job.mutation === 'device-forgets';
  new RunningQueue(0, setup, around, (options) => new PausingQueue(ring, guest, options, pauses, isForgetful));
  loop.watch(stop.fd, {
    readable: () => {
      stop.clear();
      loop.stop();
    },
  });
  ready();
  await loop.run();
  if (problems.length > 0) throw new Error(problems.join('; '));
  return { batches: counters.batches, kicksSeen: counters.kicks };
});

function areasAt({ descriptorArea, driverArea, deviceArea }: RingAreas, size: number): AreaBytes {
  const bytes = splitFormat.bytes(size);
  return {
    descriptorArea: guest.slice(descriptorArea, bytes.descriptorArea),
    driverArea: guest.slice(driverArea, bytes.driverArea),
    deviceArea: guest.slice(deviceArea, bytes.deviceArea),
  };
}
