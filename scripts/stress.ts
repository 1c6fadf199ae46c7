// npm run stress: the real ring between two threads that pause, poll and sleep at random; no notification may ever be lost.
import { parseArgs } from 'node:util';
import { type StressResult, stress } from '../src/bench/stress/stress.ts';
import { MUTATIONS } from '../src/bench/stress/stress-job.ts';

const { values } = parseArgs({
  options: {
    /** As in 1e8: the nightly run. */
    requests: { type: 'string', default: '1e6' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 40)) },
    minutes: { type: 'string', default: '600' },
  },
});
const requests = Number(values.requests);
const seed = Number(values.seed);
const timeoutMs = Number(values.minutes) * 60_000;
/** So many requests do not go well by chance with a side that forgets. */
const MUTANT_REQUESTS = 1e6;

function summary(result: StressResult): string {
  const { seconds, kicks, calls, driverSleeps, deviceSleeps, batches } = result;
  const sleeps = `the driver slept ${driverSleeps} times, the device ${deviceSleeps}`;
  return `${result.requests} requests in ${seconds.toFixed(1)} s, ${batches} batches, ${kicks} kicks, ${calls} calls; ${sleeps}`;
}

async function run(): Promise<boolean> {
  console.log(`seed ${seed}`);
  for (const mutation of MUTATIONS.filter((one) => one !== 'none')) {
    const { stall, requests: done } = await stress({ requests: MUTANT_REQUESTS, seed, mutation, timeoutMs });
    console.log(`${mutation}: ${stall === undefined ? 'NOT FOUND' : `found after ${done} requests`}`);
    if (stall === undefined) return false;
    console.log(stall.report);
  }
  const result = await stress({ requests, seed, timeoutMs, onProgress: console.log });
  console.log(summary(result));
  if (result.stall !== undefined) console.error(result.stall.report);
  else console.log('nothing was lost');
  return result.stall === undefined;
}

process.exitCode = (await run()) ? 0 : 1;
