// bench/stress: the driver's thread.
import { workerData } from 'node:worker_threads';
import { pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { type DriverBuffer, DriverMemory, DriverQueue, SeededRandom } from '../../src/testing/index.ts';
import { GUEST_BASE } from '../threads/ring-memory.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { StopWord } from '../threads/shared-queue.ts';
import { SideWords } from './side-words.ts';
import { StressDriver } from './stress-driver.ts';
import type { StressJob, StressSetup } from './stress-job.ts';

const setup = workerData as StressSetup;
const { bytes } = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const words = new SideWords(setup.driverWords);

serveJobs<StressJob>((job, ready) => {
  pinThread(0, job.driverCpu);
  const memory = new DriverMemory(bytes, GUEST_BASE);
  const { size, features, start } = job;
  const queue = new DriverQueue(memory, { size, features, start });
  words.at(start, 0, 0);
  const driver = new StressDriver({
    queue,
    words,
    random: new SeededRandom(job.seed),
    kick: EventFd.borrow(setup.kickFd),
    call: EventFd.borrow(setup.callFd),
    stop: new StopWord(setup.stop),
    chains: chainsOf(memory),
    forgetful: job.mutation === 'driver-forgets',
  });
  ready();
  driver.run(job.requests);
});

function chainsOf(memory: DriverMemory): DriverBuffer[][] {
  const buffer = (writable: boolean): DriverBuffer => ({ address: memory.allocate(64), length: 64, writable });
  return [[buffer(true)], [buffer(false), buffer(true)], [buffer(false), buffer(false), buffer(true)], [buffer(false)]];
}
