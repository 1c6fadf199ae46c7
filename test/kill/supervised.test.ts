// test/kill: device processes of a supervisor are killed and upgraded in mid-flight, and nothing is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uringProblem } from '../../src/stores/ring-file.ts';
import { type SupervisedOptions, superviseUnderLoad } from './supervised-world.ts';

/** Kills with a process that stands by and without one, before and after upgrades. */
const ROUND = ['upgrade', 'kill', 'kill', 'warm-kill', 'upgrade'] as const;
/** So many in CI, one on the machine of a person who waits. */
const steps = Array.from({ length: process.env.CI === 'true' ? 3 : 1 }, () => ROUND).flat();

const ways: readonly (Pick<SupervisedOptions, 'serveArgs' | 'onDisk'> & { name: string; skip: string | false })[] = [
  { name: 'an image in memory', serveArgs: [], onDisk: false, skip: false },
  {
    name: 'io_uring on two threads',
    serveArgs: ['--engine', 'uring', '--threads', '2'],
    onDisk: true,
    skip: uringProblem() ?? false,
  },
];

for (const { name, skip, ...way } of ways) {
  test(`${name}: kills and upgrades under a verifying load on 4 queues, and nothing is lost`, { skip }, async (t) => {
    const result = await superviseUnderLoad({ seed: 1, queues: 4, depth: 32, steps, ...way });
    assert.equal(result.problem, undefined, result.log);
    assert.deepEqual(
      result.steps.map(({ step }) => step),
      steps,
    );
    const pauses = result.steps.map(({ step, pauseMs }) => `${step} ${Math.round(pauseMs)} ms`);
    t.diagnostic(`${result.requests} requests; ${pauses.join(', ')}`);
  });
}
