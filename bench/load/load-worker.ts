// bench/load: the program of one queue's thread: maps the shared memory, acts as the driver, posts what it measured.
import { parentPort, workerData } from 'node:worker_threads';
import { SECTOR_BYTES } from '../../src/devices/blk/spec.ts';
import { involuntarySwitches, pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { BlockPicker, type BlockRange, partOf } from './block-picker.ts';
import { CompletionWait, StallError } from './completion-wait.ts';
import { DriverRing } from './driver-ring.ts';
import { LoadLoop } from './load-loop.ts';
import type { LoadJob, LoadMessage, LoadSpec, QueueResult } from './load-spec.ts';
import { PacedLoop, type PacedParts } from './paced-loop.ts';
import { RequestSlots } from './request-slots.ts';
import { VERIFY_BLOCKS_MAX, VerifyLoop, type VerifyParts } from './verify-loop.ts';

function prepare(job: LoadJob, memory: Mapping, ring: DriverRing, wait: CompletionWait): VerifyParts & PacedParts {
  const { spec, plan } = job;
  const { operation } = spec;
  const slots = new RequestSlots(memory.bytes, plan, job.guestBase);
  // Data to write is not zero: some disks store zeroes without writing them.
  for (const [slot, words] of slots.words.entries()) words.fill(0x01010101 * (slot + 1));
  const range = blocksOf(job);
  return {
    ring,
    slots,
    range,
    wait,
    picker: new BlockPicker(range, operation !== 'read' && operation !== 'write', spec.seed + job.queue),
    kick: EventFd.adopt(job.kickFd),
    kind: operation === 'mixed' ? 'mixed' : operation.endsWith('write') ? 'write' : 'read',
    sectorsPerBlock: spec.blockBytes / SECTOR_BYTES,
    seed: spec.seed,
    intervalMs: spec.rate === undefined ? 0 : (1000 * spec.queues) / spec.rate,
  };
}

/** Queues with random blocks use the whole disk; in order, or verifying, each has a part of its own. */
function blocksOf({ spec, capacityBytes, queue }: LoadJob): BlockRange {
  const blocks = Math.floor(capacityBytes / spec.blockBytes);
  if (spec.operation.startsWith('rand') || spec.operation === 'mixed') return { first: 0, count: blocks };
  const { first, count } = partOf(blocks, queue, spec.queues);
  return { first, count: spec.operation === 'verify' ? Math.min(count, VERIFY_BLOCKS_MAX) : count };
}

function loopOf(parts: VerifyParts & PacedParts, { operation, rate }: LoadSpec): VerifyLoop | PacedLoop | LoadLoop {
  if (rate !== undefined) return new PacedLoop(parts);
  return operation === 'verify' ? new VerifyLoop(parts) : new LoadLoop(parts);
}

/** Runs the load and returns what it measured after the warm-up. */
function run(parts: VerifyParts & PacedParts, spec: LoadSpec): QueueResult {
  const loop = loopOf(parts, spec);
  let startMs = performance.now();
  let switches = involuntarySwitches();
  let counted = { requests: 0, kicks: 0, calls: 0, elapsedMs: 0, involuntarySwitches: 0 };
  try {
    loop.run(startMs + spec.warmupSeconds * 1000);
    loop.reset();
    startMs = performance.now();
    switches = involuntarySwitches();
    parentPort?.postMessage({ kind: 'measuring' } satisfies LoadMessage);
    loop.run(startMs + spec.seconds * 1000);
    counted = {
      requests: loop.requests,
      kicks: loop.kicks,
      calls: parts.wait.calls,
      elapsedMs: performance.now() - startMs,
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

function main(job: LoadJob): void {
  if (job.cpu !== undefined) pinThread(0, job.cpu);
  using memory = Mapping.ofFile(job.memoryFd, job.memoryBytes);
  const ring = new DriverRing(memory.bytes, job.plan, job.eventIdx);
  using wait = new CompletionWait(ring, job.spec.wait, job.callFd);
  const result = run(prepare(job, memory, ring, wait), job.spec);
  parentPort?.postMessage({ kind: 'done', result } satisfies LoadMessage);
}

main(workerData);
