// npm run stress: the real ring between two threads that pause, poll and sleep at random; no notification may ever be lost.
import { parseArgs } from 'node:util';
import { type StressResult, stress } from '../bench/stress/stress.ts';
import { MUTATIONS } from '../bench/stress/stress-job.ts';

/** A quarter of an hour on two processors of its own; a machine that is busy with other things may take the night. */
const NIGHTLY = { requests: '1e8', minutes: '480' };
const { values } = parseArgs({
  options: {
    nightly: { type: 'boolean', default: false },
    requests: { type: 'string' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 40)) },
    minutes: { type: 'string' },
  },
});
const preset = values.nightly ? NIGHTLY : { requests: '1e6', minutes: '30' };
const requests = wholeNumber('requests', values.requests ?? preset.requests);
const seed = wholeNumber('seed', values.seed);
const timeoutMs = wholeNumber('minutes', values.minutes ?? preset.minutes) * 60_000;
/** With this many requests a mutant loses a notification with certainty. */
const MUTANT_REQUESTS = 1e6;

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`stress: --${name} ${text}: it takes a whole number, as in 1e8`);
  process.exit(2);
}

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
  else if (result.requests < requests) console.error(`time was up after ${result.requests} of ${requests} requests`);
  else console.log('nothing was lost');
  return result.stall === undefined && result.requests >= requests;
}

process.exitCode = (await run()) ? 0 : 1;
