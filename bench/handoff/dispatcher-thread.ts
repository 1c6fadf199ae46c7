// bench/handoff: the dispatcher's thread. In the design without a dispatcher it sleeps through the round.
import { workerData } from 'node:worker_threads';
import { reopenStore } from '../../src/index.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { type Doorbell, openDoorbell } from '../threads/doorbell.ts';
import { serveJobs, threadSeconds } from '../threads/serve-jobs.ts';
import { StopWord } from '../threads/shared-queue.ts';
import type { HandoffCounts, HandoffJob, HandoffSetup } from './handoff-job.ts';
import { ParsingDispatcher } from './parsing-dispatcher.ts';
import { RequestQueue } from './request-queue.ts';
import { passKicksOn } from './woken-worker.ts';

const setup = workerData as HandoffSetup;
const memory = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const requests = new RequestQueue(setup.requests, setup.requestsMax);
const stop = new StopWord(setup.stop);
const { sizeBytes: diskBytes } = reopenStore(setup.store);

serveJobs<HandoffJob>((job, ready): HandoffCounts => {
  pinThread(0, job.cpu);
  using doorbell = openDoorbell('eventfd', setup.kickFd);
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  const wakeUps = dispatch(job, doorbell, ready);
  return {
    requests: 0,
    wakeUps,
    cpuSeconds: threadSeconds() - startSeconds,
    involuntarySwitches: involuntarySwitches() - switches,
  };
});

function dispatch({ design, plan, eventIdx }: HandoffJob, doorbell: Doorbell, ready: () => void): number {
  if (design === 'wake') {
    ready();
    return passKicksOn(doorbell, requests.monitor, stop);
  }
  const dispatcher = new ParsingDispatcher({ memory, plan, eventIdx, requests, diskBytes });
  ready();
  dispatcher.run(doorbell, stop);
  return dispatcher.wakeUps;
}
