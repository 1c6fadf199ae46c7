// npm run kill: kills a back end again and again while a driver verifies its disk; nothing may be lost or served twice.
import { parseArgs } from 'node:util';
import { type KillResult, killAgainAndAgain } from '../test/kill/kill-world.ts';
import { MISTAKES, type Mistake } from '../test/kill/mistakes.ts';

const HELP = `npm run kill -- [--kills N] [--seed S] [--engine mapped|uring|sync] [--threads N] [--queues N] [--depth N] [--mistake NAME]

The back end is killed with SIGKILL at random moments and started again, under a verifying load. Exit code 1: something was lost,
or served twice. --mistake puts a mistake into the back end, which has to be caught: ${Object.keys(MISTAKES).join(', ')}.

  npm run kill -- --kills 10000 --seed 7
  npm run kill -- --mistake clears-too-early`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    engine: { type: 'string', default: 'uring' },
    threads: { type: 'string', default: '1' },
    queues: { type: 'string', default: '4' },
    depth: { type: 'string', default: '32' },
    mistake: { type: 'string' },
  },
});

function usage(line: string): never {
  console.error(`kill: ${line}; npm run kill -- --help shows what it takes`);
  process.exit(2);
}

function wholeNumber(name: 'kills' | 'seed' | 'threads' | 'queues' | 'depth', least: number): number {
  const value = Number(values[name]);
  if (values[name].trim() !== '' && Number.isSafeInteger(value) && value >= least) return value;
  return usage(`--${name} ${values[name]}: a whole number from ${least} is wanted`);
}

function report({ kills, requests, pausesMs }: KillResult, seconds: number): string {
  const sorted = pausesMs.toSorted((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(0);
  const pauses = `from a kill to the next completed request: median ${at(0.5)} ms, p90 ${at(0.9)} ms, longest ${at(1)} ms`;
  return `${kills} kills, ${requests} requests in ${seconds.toFixed(0)} s; ${pauses}`;
}

async function run(): Promise<number> {
  const { engine, mistake } = values;
  if (mistake !== undefined && !Object.hasOwn(MISTAKES, mistake))
    usage(`--mistake ${mistake}: there is no such mistake`);
  const seed = wholeNumber('seed', 0);
  const wanted = wholeNumber('kills', 1);
  console.log(`seed ${seed}`);
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => interrupt.abort(new Error(`ended by ${signal}`)));
  const startedMs = performance.now();
  const result = await killAgainAndAgain({
    ...{ kills: wanted, seed, queues: wholeNumber('queues', 1), depth: wholeNumber('depth', 1) },
    serveArgs: ['--engine', engine, '--threads', String(wholeNumber('threads', 1))],
    onDisk: engine !== 'mapped',
    ...(mistake !== undefined && { mistake: mistake as Mistake }),
    signal: interrupt.signal,
    onKill: (kills) => {
      if (kills % 100 === 0) console.log(`${kills} of ${wanted} kills`);
    },
  });
  console.log(report(result, (performance.now() - startedMs) / 1000));
  if (result.problem === undefined) console.log('nothing was lost, and nothing was served twice');
  else console.error(`after ${result.kills} kills: ${result.problem}`);
  return result.problem === undefined ? 0 : 1;
}

if (values.help) console.log(HELP);
else process.exitCode = await run();
