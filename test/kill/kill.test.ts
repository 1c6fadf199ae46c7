// test/kill: a back end that is killed in mid-flight loses nothing and serves nothing twice; mistakes are caught.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uringProblem } from '../../src/stores/ring-file.ts';
import { patience } from '../../src/testing/patience.ts';
import { killAgainAndAgain } from './kill-world.ts';
import { MISTAKES, type Mistake } from './mistakes.ts';

/** So many in CI, a quarter of them on the machine of a person who waits. */
const some = (kills: number): number => (process.env.CI === 'true' ? kills : kills / 4);

const ways = [
  { name: 'an image in memory', kills: some(60), serveArgs: [], onDisk: false, skip: false },
  {
    name: 'io_uring on a disk',
    kills: some(80),
    serveArgs: ['--engine', 'uring'],
    onDisk: true,
    skip: uringProblem() ?? false,
  },
  {
    name: 'io_uring on two threads',
    kills: some(60),
    serveArgs: ['--engine', 'uring', '--threads', '2'],
    onDisk: true,
    skip: uringProblem() ?? false,
  },
];

for (const { name, skip, ...way } of ways) {
  test(`${name}: killed again and again under a verifying load on 4 queues, and nothing is lost`, {
    skip,
  }, async (t) => {
    const result = await killAgainAndAgain({ seed: 1, queues: 4, depth: 32, ...way });
    assert.equal(result.problem, undefined);
    assert.equal(result.kills, way.kills);
    t.diagnostic(
      `${result.kills} kills, ${result.requests} requests, longest pause ${Math.round(Math.max(...result.pausesMs))} ms`,
    );
  });
}

/** A back end with a mistake stops serving: the shorter this is, the sooner that is seen. */
const STALL_MS = 2000;

for (const mistake of Object.keys(MISTAKES) as Mistake[]) {
  test(`a back end that ${mistake.replaceAll('-', ' ')} is caught`, { skip: uringProblem() ?? false }, async (t) => {
    const { problem, kills } = await killAgainAndAgain({
      ...{ kills: 50, seed: 1, queues: 4, depth: 32, serveArgs: ['--engine', 'uring'], onDisk: true, mistake },
      stallMs: patience(STALL_MS),
    });
    assert.notEqual(problem, undefined);
    t.diagnostic(`after ${kills} kills: ${problem}`);
  });
}
