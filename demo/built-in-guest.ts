// demo: the guest where no Linux can run: Belfry's driver side moves data for a few seconds and compares every word.
import { generateLoad } from '../bench/load/load-generator.ts';
import { countErrors, DEFAULT_LOAD, type LoadSpec, type QueueResult } from '../bench/load/load-spec.ts';
import type { GuestStep } from '../guests/console-parser.ts';
import type { DemoGuest, Performance, Stage } from './demo-guest.ts';
import type { DiskTraits } from './demo-plan.ts';

interface Load {
  readonly name: string;
  readonly writes: boolean;
  readonly spec: Partial<LoadSpec>;
}

const KIB = 1024;
/** A smaller disk has no room for 16 requests of 256 KiB. */
const LARGE_BYTES_MIN = 4 * KIB * KIB;

/** In this order; `verify` at the end, so that nothing writes over what it wrote. */
const LOADS: readonly Load[] = [
  { name: 'load-write', writes: true, spec: { operation: 'write', blockBytes: 256 * KIB, depth: 16, seconds: 0.5 } },
  { name: 'load-read', writes: false, spec: { operation: 'read', blockBytes: 256 * KIB, depth: 16, seconds: 0.5 } },
  { name: 'load-read-4k', writes: false, spec: { operation: 'randread', blockBytes: 4 * KIB, depth: 1, seconds: 0.5 } },
  { name: 'load-verify', writes: true, spec: { operation: 'verify', blockBytes: 4 * KIB, depth: 32, seconds: 2 } },
];

const SMALL_LOADS: readonly Load[] = [
  { name: 'load-read-sector', writes: false, spec: { operation: 'randread', blockBytes: 512, depth: 1, seconds: 0.5 } },
  { name: 'load-verify-sector', writes: true, spec: { operation: 'verify', blockBytes: 512, depth: 4, seconds: 1 } },
];

export const builtInGuest: DemoGuest = {
  name: 'built-in',
  description: 'the built-in front end: our own driver side, no Linux',
  dataMiB: 0,
  memoryBytes: () => 16 * KIB * KIB,
  play,
};

async function play({ socket, disk, onStep, signal }: Stage): Promise<Performance> {
  const steps: GuestStep[] = [];
  let problem = '';
  for (const { name, spec } of loadsFor(disk)) {
    signal.throwIfAborted();
    const load = { ...DEFAULT_LOAD, warmupSeconds: 0.1, ...spec };
    const [result] = (await generateLoad({ socket, spec: load, cpus: [], signal })) as [QueueResult];
    const step = stepOf(name, result, load.blockBytes);
    steps.push(step);
    onStep(step);
    if (step.ok) continue;
    problem = `${countErrors(result.errors)} requests went wrong; the first: ${result.errors.first}`;
    break;
  }
  const unchecked = ['a file system, and the disk in Linux: there is no Linux here'];
  return { ok: problem === '', problem, kernel: '', bootMs: 0, steps, consoleTail: [], unchecked };
}

function loadsFor({ sizeBytes, readOnly }: DiskTraits): Load[] {
  const loads = sizeBytes < LARGE_BYTES_MIN ? SMALL_LOADS : LOADS;
  return loads.filter(({ writes }) => !(writes && readOnly));
}

function stepOf(name: string, { requests, elapsedMs, errors }: QueueResult, blockBytes: number): GuestStep {
  return { disk: 'vda', name, ok: countErrors(errors) === 0, ms: elapsedMs, sizeBytes: requests * blockBytes };
}
