// test/vhost-user: a thread that acts as one queue's driver: keeps random reads and writes in flight, compares every word.
import { parentPort, workerData } from 'node:worker_threads';
import { BlockPicker, partOf } from '../../bench/load/block-picker.ts';
import { CompletionWait } from '../../bench/load/completion-wait.ts';
import { DriverRing } from '../../bench/load/driver-ring.ts';
import type { LoadErrors } from '../../bench/load/load-spec.ts';
import type { QueuePlan } from '../../bench/load/queue-plan.ts';
import { RequestSlots } from '../../bench/load/request-slots.ts';
import { VerifyLoop } from '../../bench/load/verify-loop.ts';
import { SECTOR_BYTES } from '../../src/devices/blk/spec.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { Mapping } from '../../src/sys/mapping.ts';

export interface VerifyingJob {
  readonly plan: QueuePlan;
  readonly queue: number;
  readonly queues: number;
  readonly capacityBytes: number;
  readonly memoryFd: number;
  readonly memoryBytes: number;
  readonly guestBase: number;
  readonly kickFd: number;
  readonly callFd: number;
  readonly eventIdx: boolean;
  readonly seed: number;
  /** How long its device may use nothing: longer than a back end takes to start again. */
  readonly stallMs: number;
  /** Words shared with the thread that started this one. */
  readonly words: Int32Array<SharedArrayBuffer>;
}

/** Indices in `words`: whether to stop, and how many requests came back. */
export const STOP = 0;
export const COMPLETED = 1;

export interface Verified {
  readonly requests: number;
  readonly errors: LoadErrors;
}

const SLICE_MS = 5;

function verify(job: VerifyingJob): Verified {
  using memory = Mapping.ofFile(job.memoryFd, job.memoryBytes);
  const ring = new DriverRing(memory.bytes, job.plan, job.eventIdx);
  using wait = new CompletionWait(ring, 'call', job.callFd, job.stallMs);
  const { blockBytes } = job.plan;
  const range = partOf(Math.floor(job.capacityBytes / blockBytes), job.queue, job.queues);
  const loop = new VerifyLoop({
    ring,
    slots: new RequestSlots(memory.bytes, job.plan, job.guestBase),
    range,
    wait,
    picker: new BlockPicker(range, true, job.seed),
    kick: EventFd.adopt(job.kickFd),
    kind: 'mixed',
    sectorsPerBlock: blockBytes / SECTOR_BYTES,
    seed: job.seed,
  });
  while (Atomics.load(job.words, STOP) === 0) {
    loop.run(performance.now() + SLICE_MS);
    Atomics.store(job.words, COMPLETED, loop.requests);
  }
  loop.finish();
  return { requests: loop.requests, errors: loop.errors };
}

parentPort?.postMessage(verify(workerData as VerifyingJob));
