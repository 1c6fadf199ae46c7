// bench/notify: the device's thread: the product's loop, queue and block device, behind the doorbell of the job.
import { workerData } from 'node:worker_threads';
import { pollPolicy } from '../../src/daemon/poll-mode.ts';
import { BlockDevice, reopenStore } from '../../src/index.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { openDoorbell } from '../threads/doorbell.ts';
import { ForgetfulDevice } from '../threads/forgetful-device.ts';
import { serveJobs, threadSeconds } from '../threads/serve-jobs.ts';
import { runUntilStopped, SleepCounter, startQueue } from '../threads/served-queue.ts';
import { StopWord } from '../threads/shared-queue.ts';
import { SignalLoop } from '../threads/signal-loop.ts';
import type { DeviceCounts, DeviceJob, DeviceSetup } from './device-job.ts';

const setup = workerData as DeviceSetup;
const memory = Mapping.ofFile(setup.memory.fd, setup.memory.sizeBytes);
const device = new BlockDevice(reopenStore(setup.store));
const call = EventFd.borrow(setup.callFd);
const stop = new StopWord(setup.stop);
/** Opened at the start, which blocks the signal: an unblocked one would end the process. */
const signal = openDoorbell('signal', setup.kickFd);

serveJobs<DeviceJob>(async (job, ready): Promise<DeviceCounts> => {
  pinThread(0, job.cpu);
  const { plan, eventIdx } = job;
  const sleeps = new SleepCounter(pollPolicy(job.poll));
  using loop = job.doorbell === 'signal' ? new SignalLoop(signal, stop, sleeps) : new EventLoop(sleeps);
  const counters = startQueue(loop, {
    device: job.forgetful ? new ForgetfulDevice(device) : device,
    memory,
    plan,
    eventIdx,
    kickFd: setup.kickFd,
    call: () => call.signal(),
  });
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  ready();
  await runUntilStopped(loop, setup.stopFd);
  return {
    requests: counters.requests,
    calls: counters.calls,
    wakeUps: sleeps.wakeUps,
    cpuSeconds: threadSeconds() - startSeconds,
    involuntarySwitches: involuntarySwitches() - switches,
  };
});
