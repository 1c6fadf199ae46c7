// test/cli: `bench notify` and `bench handoff`, small: they end in time, and the figures of their JSON are consistent.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { HandoffResult } from '../../bench/handoff/handoff-result.ts';
import type { NotifyResult } from '../../bench/notify/notify-result.ts';
import { type Origin, originLine } from '../../bench/origin.ts';
import type { Summary } from '../../bench/statistics.ts';
import { eventually } from '../../src/testing/patience.ts';
import { belfry, processorSecondsOf, startBelfry, testFolder } from './belfry-process.ts';

const SMALL = ['--quick', '--rounds', '1', '--seconds', '0.02', '--size', '16M'];

function assertOrdered({ min, quartiles, median, max }: Summary): void {
  const all = [min, quartiles[0], median, quartiles[1], max];
  assert.deepEqual(
    all,
    all.toSorted((a, b) => a - b),
  );
  assert.ok(min > 0, `${min}`);
}

test('bench notify --quick --json --html measures every variant, none of which loses a kick', async (t) => {
  const html = join(testFolder(t), 'page.html');
  const ended = await belfry(['bench', 'notify', ...SMALL, '--json', '--html', html]);
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  const { cases, rounds } = JSON.parse(ended.stdout) as NotifyResult;
  assert.ok(rounds === 1 && cases.length >= 3, `${cases.length} cases`);
  for (const { variants, comparisons, load } of cases) {
    assert.equal(variants.length, 7);
    assert.equal(comparisons.length, 3);
    for (const one of variants) {
      assert.deepEqual([one.errors, one.rounds.length], [0, 1], `${load.name} ${one.doorbell} ${one.poll}`);
      for (const summary of [one.value, one.deviceCpuUs, one.driverCpuUs]) assertOrdered(summary);
      if (!one.forgetful) assert.equal(one.lostKicks, 0);
      assert.equal(one.published !== undefined, one.poll !== 'auto' && !one.forgetful);
    }
  }
  const { origin } = JSON.parse(ended.stdout) as { origin: Origin };
  assert.match(origin.commandLine, /^belfry bench notify --quick .* --json --html \S+\/page\.html$/);
  assert.ok(Math.abs(Date.parse(origin.date) - Date.now()) < 3_600_000 && /^\d+\.\d+\.\d+/.test(origin.belfry));
  const page = readFileSync(html, 'utf8');
  assert.ok(page.includes(originLine(origin)));
  assert.ok(page.startsWith('<!doctype html>') && page.endsWith('</html>\n'));
  assert.equal(page.match(/<svg/g)?.length, 2 * cases.length);
});

test('bench handoff --quick --json --html measures every design, each of which serves every request', async (t) => {
  const html = join(testFolder(t), 'page.html');
  const args = ['bench', 'handoff', ...SMALL, '--requests', '2000', '--json', '--html', html];
  const ended = await belfry(args);
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  const { cases } = JSON.parse(ended.stdout) as HandoffResult;
  assert.deepEqual(
    cases.map(({ load }) => [load.blockBytes, load.depth]),
    [
      [4096, 1],
      [4096, 8],
      [4096, 64],
      [1 << 20, 16],
    ],
  );
  for (const { designs } of cases) {
    assert.deepEqual(
      designs.map(({ design, errors }) => [design, errors]),
      [
        ['parse', 0],
        ['wake', 0],
        ['none', 0],
      ],
    );
    for (const one of designs) {
      assertOrdered(one.requestsPerSecond);
      assert.ok(one.p50Us > 0 && one.p50Us <= one.p99Us && one.p99Us <= one.p9999Us);
    }
  }
  assert.equal(readFileSync(html, 'utf8').match(/<svg/g)?.length, 3 * cases.length);
});

test('bench notify prints a table', async () => {
  const { code, stdout, stderr } = await belfry(['bench', 'notify', ...SMALL]);
  assert.deepEqual([code, stderr], [0, '']);
  for (const says of [/4 KiB random reads, depth 64, same core/, /adaptive/, /#78/, /processors others used/])
    assert.match(stdout, says);
});

for (const words of [['bench', 'blk'], ['bench', 'notify'], ['bench', 'handoff'], ['doorbell']]) {
  const bench = words.join(' ');
  test(`${bench} --html where there is no folder is refused before anything is measured`, async () => {
    const { code, stderr } = await belfry([...words, '--html', '/nowhere/at/all.html']);
    assert.equal(code, 2);
    assert.match(stderr, /^belfry: --html \/nowhere\/at\/all\.html: there is no such folder[^\n]*\n$/);
  });
}

for (const bench of ['notify', 'handoff']) {
  test(`bench ${bench} ends at Ctrl-C and leaves nothing behind, whatever its threads wait for`, async () => {
    await using running = startBelfry(['bench', bench, '--size', '16M']);
    const folders = `/dev/shm/belfry-bench-${running.pid}-*`;
    await eventually('a disk', () => globSync(folders).length > 0);
    const before = processorSecondsOf(running.pid);
    await eventually('its threads are at work', () => processorSecondsOf(running.pid) > before + 0.5);
    running.kill('SIGINT');
    const { code, stderr } = await running.ended;
    assert.equal(code, 130, stderr);
    assert.equal(
      stderr,
      'belfry: stopping; Ctrl-C again ends it at once\nbelfry: interrupted; nothing is left behind\n',
    );
    assert.deepEqual(globSync(folders), []);
  });
}
