// demo: the guest of a machine without any: our own driver side moves data for a few seconds and compares every word.
import { generateLoad } from '../bench/load/load-generator.ts';
import { countErrors, DEFAULT_LOAD, type LoadSpec, type QueueResult } from '../bench/load/load-spec.ts';
import type { GuestStep } from '../guests/console-parser.ts';
import type { DemoGuest, Performance, Stage } from './demo-guest.ts';

const KIB = 1024;

/** In this order; `verify` at the end, so that nothing writes over what it wrote. */
const LOADS: readonly { readonly name: string; readonly spec: Partial<LoadSpec> }[] = [
  { name: 'load-write', spec: { operation: 'write', blockBytes: 256 * KIB, depth: 16, seconds: 0.5 } },
  { name: 'load-read', spec: { operation: 'read', blockBytes: 256 * KIB, depth: 16, seconds: 0.5 } },
  { name: 'load-read-4k', spec: { operation: 'randread', blockBytes: 4 * KIB, depth: 1, seconds: 0.5 } },
  { name: 'load-verify', spec: { operation: 'verify', blockBytes: 4 * KIB, depth: 32, seconds: 2 } },
];

export const builtInGuest: DemoGuest = {
  name: 'built-in',
  description: 'the built-in front end: our own driver side, no Linux',
  dataMiB: 0,
  memoryBytes: () => 16 * KIB * KIB,
  play,
};

async function play({ socket, onStep, signal }: Stage): Promise<Performance> {
  const steps: GuestStep[] = [];
  let problem = '';
  for (const { name, spec } of LOADS) {
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
  return { ok: problem === '', problem, kernel: '', bootMs: 0, steps, consoleTail: [] };
}

function stepOf(name: string, { requests, elapsedMs, errors }: QueueResult, blockBytes: number): GuestStep {
  return { disk: 'vda', name, ok: countErrors(errors) === 0, ms: elapsedMs, sizeBytes: requests * blockBytes };
}
