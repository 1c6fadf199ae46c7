// test/kill: a back end that is killed in mid-flight loses nothing and serves nothing twice; mistakes are caught.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uringProblem } from '../../src/stores/uring-file.ts';
import { killAgainAndAgain } from './kill-world.ts';
import { MISTAKES, type Mistake } from './mistakes.ts';

const ways = [
  { name: 'an image in memory', kills: 60, serveArgs: [], onDisk: false, skip: false },
  {
    name: 'io_uring on a disk',
    kills: 80,
    serveArgs: ['--engine', 'uring'],
    onDisk: true,
    skip: uringProblem() ?? false,
  },
  {
    name: 'io_uring on two threads',
    kills: 60,
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

for (const mistake of Object.keys(MISTAKES) as Mistake[]) {
  test(`a back end that ${mistake.replaceAll('-', ' ')} is caught`, { skip: uringProblem() ?? false }, async (t) => {
    const { problem, kills } = await killAgainAndAgain({
      ...{ kills: 50, seed: 1, queues: 4, depth: 32, serveArgs: ['--engine', 'uring'], onDisk: true, mistake },
    });
    assert.notEqual(problem, undefined);
    t.diagnostic(`after ${kills} kills: ${problem}`);
  });
}
