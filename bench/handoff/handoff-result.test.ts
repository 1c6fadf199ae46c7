// bench/handoff: how rounds are put together, compared with the old design, and shown.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { newErrors } from '../load/load-spec.ts';
import type { DriverResult } from '../threads/driver-job.ts';
import { HANDOFF_LOADS, type HandoffLoad } from './handoff-cases.ts';
import { DESIGNS, type Design } from './handoff-job.ts';
import { handoffPage } from './handoff-page.ts';
import { designResult, type HandoffMeasurement, type HandoffResult, handoffMeasurement } from './handoff-result.ts';
import { formatHandoffBench } from './handoff-table.ts';

const DEEP = HANDOFF_LOADS[2] as HandoffLoad;

const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: 'belfry bench' };

/** A round of a second with `requests` requests, `slow` of them slow. */
function measured(requests: number, slow: number, foreignSeconds = 0): HandoffMeasurement {
  const latency = createHistogram();
  for (let i = 0; i < requests - slow; i++) latency.record(10_000);
  for (let i = 0; i < slow; i++) latency.record(5_000_000);
  const driver: DriverResult = {
    ...{ requests, elapsedMs: 1000, latency, kicks: 10, calls: requests / 10, errors: newErrors(), lostKicks: 0 },
    ...{ involuntarySwitches: 1, cpuSeconds: requests / 1e6 },
  };
  const counts = { wakeUps: requests, cpuSeconds: requests / 1e6, involuntarySwitches: 0 };
  const served = [
    { ...counts, requests },
    { ...counts, requests: 0 },
  ];
  return handoffMeasurement(DEEP, driver, served, { seconds: 1, foreignSeconds, loadAverage: 0 });
}

function resultOf(rates: Readonly<Record<Design, readonly number[]>>, foreignSeconds = 0): HandoffResult {
  const done = (design: Design): HandoffMeasurement[] => rates[design].map((rate) => measured(rate, 2, foreignSeconds));
  const designs = DESIGNS.map((design) => designResult(DEEP, design, done(design), done('parse')));
  const machine = { cpuModel: 'C', cpus: 2, kernel: '6', node: 'v26' };
  const cpus = { worker: 1, driver: 0, dispatcher: 1 };
  return { machine, cpus, diskBytes: 1, rounds: rates.parse.length, cases: [{ load: DEEP, designs }] };
}

test('worker and dispatcher are the back end together', () => {
  const { round } = measured(1000, 0);
  assert.deepEqual([round.backEndCpuUs, round.backEndWakeUps], [2, 2]);
  assert.deepEqual([round.driverCpuUs, round.driverWakeUps], [1, 0.1]);
  assert.equal(round.bytesPerSecond, 1000 * 4096);
});

test('percentiles are those of all requests of all rounds', () => {
  const one = designResult(DEEP, 'none', [measured(100, 0), measured(100, 4)], [measured(100, 0), measured(100, 0)]);
  assert.equal(one.requests, 200);
  assert.ok(one.p50Us < 11 && one.p99Us > 4000, `${one.p50Us} ${one.p99Us}`);
  assert.ok(one.p99OfRounds.min < 11 && one.p99OfRounds.max > 4000);
});

test('a design is compared with the old one round by round, and with what was published', () => {
  const result = resultOf({ parse: [1000, 500, 800], wake: [1050, 525, 840], none: [1000, 510, 790] });
  const [parse, wake, none] = result.cases[0]?.designs ?? [];
  assert.ok(Math.abs((wake?.gain.median ?? 0) - 1.05) < 1e-9);
  assert.deepEqual([parse?.gain.median, none?.published], [1, undefined]);
  const text = stripVTControlCharacters(formatHandoffBench(result, 120));
  assert.match(text, /dispatcher only wakes: 5 % more requests than the parsing dispatcher \(#95: 1\.05x\); p99/);
  assert.match(text, /no dispatcher: no difference in rate beyond the spread/);
  assert.match(text, /published by hvisor-tool #95: p99, µs +│ +906 │ +775 │/);
  assert.match(text, /requests a second +│ +1\.0k │|requests a second/);
  assert.match(text, /At least 2\.3k requests behind each percentile: too few/);
});

test('with others at work no difference is claimed', () => {
  const result = resultOf({ parse: [100, 100], wake: [200, 200], none: [300, 300] }, 0.4);
  const text = formatHandoffBench(result, 120);
  assert.match(text, /dispatcher only wakes: others used 0\.4 processors, so its rate says nothing/);
  assert.doesNotMatch(text, /more requests/);
});

test('the page shows every design', () => {
  const page = handoffPage(resultOf({ parse: [100, 110], wake: [120, 130], none: [130, 140] }), origin);
  assert.equal(page.match(/<svg/g)?.length, 3);
  // Three designs: rate, cost, and two percentiles of latency.
  assert.equal(page.match(/<rect/g)?.length, 12);
  assert.match(page, /1\.19x to 1\.19x as many requests|1\.19x/);
});

test('at any width nothing is cut and nothing is too wide', () => {
  const result = resultOf({ parse: [1000, 500, 800], wake: [1050, 525, 840], none: [1000, 510, 790] });
  for (const columns of [60, 80, 120]) {
    const lines = stripVTControlCharacters(formatHandoffBench(result, columns)).split('\n');
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.doesNotMatch(lines.join(' '), /…/);
  }
});
