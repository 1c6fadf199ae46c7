// bench/threads: the thread that acts as the driver: keeps the queue full and sleeps until called, as a guest does.
import { workerData } from 'node:worker_threads';
import { SECTOR_BYTES } from '../../src/devices/blk/spec.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { BlockPicker } from '../load/block-picker.ts';
import { CompletionWait, StallError } from '../load/completion-wait.ts';
import { DriverRing } from '../load/driver-ring.ts';
import { LoadLoop } from '../load/load-loop.ts';
import { RequestSlots } from '../load/request-slots.ts';
import { ringerOf } from './doorbell.ts';
import type { DriverJob, DriverResult, DriverSetup } from './driver-job.ts';
import { NudgingWait } from './nudging-wait.ts';
import { GUEST_BASE } from './ring-memory.ts';
import { serveJobs, threadSeconds } from './serve-jobs.ts';

const { memory: shared, callFd } = workerData as DriverSetup;
const memory = Mapping.ofFile(shared.fd, shared.sizeBytes);

serveJobs<DriverJob>((job, ready) => {
  pinThread(0, job.cpu);
  const { plan, nudgeAfterMs } = job;
  const ring = new DriverRing(memory.bytes, plan, job.eventIdx);
  const kick = ringerOf(job.kick);
  using wait =
    nudgeAfterMs === undefined
      ? new CompletionWait(ring, 'call', callFd)
      : new NudgingWait({ ring, callFd, kick, thread: job.kick.thread, nudgeAfterMs });
  const range = { first: 0, count: Math.floor(job.diskBytes / plan.blockBytes) };
  const loop = new LoadLoop({
    ring,
    kick,
    wait,
    slots: new RequestSlots(memory.bytes, plan, GUEST_BASE),
    picker: new BlockPicker(range, job.random, job.seed),
    kind: 'read',
    sectorsPerBlock: plan.blockBytes / SECTOR_BYTES,
  });
  ready();
  return { ...measure(loop, job), calls: wait.calls, lostKicks: wait instanceof NudgingWait ? wait.lostKicks : 0 };
});

/** Runs and measures the load. Requests in flight at its end are waited for, and not counted. */
function measure(loop: LoadLoop, { seconds, requests }: DriverJob): Omit<DriverResult, 'calls' | 'lostKicks'> {
  const startMs = performance.now();
  const startSeconds = threadSeconds();
  const switches = involuntarySwitches();
  let counted = { requests: 0, kicks: 0, elapsedMs: 0, cpuSeconds: 0, involuntarySwitches: 0 };
  try {
    loop.run(startMs + seconds * 1000, requests);
    counted = {
      requests: loop.requests,
      kicks: loop.kicks,
      elapsedMs: performance.now() - startMs,
      cpuSeconds: threadSeconds() - startSeconds,
      involuntarySwitches: involuntarySwitches() - switches,
    };
    loop.finish();
  } catch (error) {
    if (!(error instanceof StallError)) throw error;
    loop.errors.stall++;
    loop.errors.first ??= error.message;
  }
  return { ...counted, latency: loop.latency, errors: loop.errors };
}
