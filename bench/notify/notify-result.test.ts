// bench/notify: how rounds are put together, compared with each other and with what was published, and shown.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { newErrors } from '../load/load-spec.ts';
import type { DriverResult } from '../threads/driver-job.ts';
import { LOADS, type NotifyLoad, type NotifyVariant, VARIANTS } from './notify-cases.ts';
import { compare } from './notify-comparison.ts';
import { notifyPage } from './notify-page.ts';
import { type NotifyResult, type NotifyRound, notifyRound, variantResult } from './notify-result.ts';
import { formatNotifyBench } from './notify-table.ts';

const [IOPS, , LATENCY] = LOADS as [NotifyLoad, NotifyLoad, NotifyLoad];
const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: 'belfry bench' };
const quiet = { seconds: 1, foreignSeconds: 0, loadAverage: 0.5 };

/** A round of `requests` requests in a second, each of which took 50 µs and half a wake-up. */
function round(requests: number, lostKicks = 0): NotifyRound {
  const latency = createHistogram();
  latency.record(50_000);
  const driver: DriverResult = {
    ...{ requests, elapsedMs: 1000, latency, kicks: 10, calls: requests / 4, errors: newErrors() },
    ...{ involuntarySwitches: 1, cpuSeconds: requests / 1e6, lostKicks },
  };
  const device = { requests, calls: 9, wakeUps: requests / 2, cpuSeconds: requests / 5e5, involuntarySwitches: 2 };
  return notifyRound(4096, driver, device, quiet);
}

/** The rates of signal and of eventfd, round by round, the same for every way to poll. */
function resultOf(load: NotifyLoad, signal: readonly number[], eventfd: readonly number[]): NotifyResult {
  const rounds = ({ doorbell, forgetful }: NotifyVariant): NotifyRound[] =>
    (doorbell === 'signal' ? signal : eventfd).map((rate) => round(rate, forgetful ? 2 : 0));
  const variants = VARIANTS.map((variant) => variantResult(load, variant, rounds(variant)));
  const placement = { name: 'across cores', deviceCpu: 1, driverCpu: 0 } as const;
  const machine = { cpuModel: 'C <1>', cpus: 2, kernel: '6', node: 'v26' };
  const cases = [{ load, placement, variants, comparisons: compare(load, variants) }];
  return { machine, diskBytes: 1, rounds: signal.length, secondsPerRound: 1, fixedPollUs: 1000, cases };
}

test('a round counts processor time and wake-ups for each request', () => {
  const one = round(1000);
  assert.deepEqual([one.requestsPerSecond, one.bytesPerSecond], [1000, 4_096_000]);
  assert.deepEqual([one.deviceCpuUs, one.driverCpuUs, one.deviceWakeUps, one.driverWakeUps], [2, 1, 0.5, 0.25]);
  assert.ok(Math.abs(one.meanUs - 50) < 0.1);
});

test('a round in which everything stalled is a round of zeroes', () => {
  const stalled = round(0);
  assert.deepEqual([stalled.requestsPerSecond, stalled.deviceCpuUs, stalled.driverWakeUps], [0, 0, 0]);
});

test('rounds are compared with their neighbours in time: a machine that slows down changes no ratio', () => {
  const [first] = resultOf(IOPS, [1000, 500, 100], [1100, 550, 110]).cases[0]?.comparisons ?? [];
  assert.deepEqual([first?.poll, first?.publishedGain], ['off', 24_500 / 1364]);
  for (const gain of [first?.gain.min, first?.gain.max]) assert.ok(Math.abs((gain ?? 0) - 1.1) < 1e-9);
});

test('of latencies, less is better', () => {
  const variants = VARIANTS.map((variant) => {
    const us = variant.doorbell === 'signal' ? 20 : 10;
    return variantResult(LATENCY, variant, [{ ...round(100), meanUs: us }]);
  });
  assert.equal(compare(LATENCY, variants)[0]?.gain.median, 2);
});

test('the device that forgets is not compared, its lost kicks are counted', () => {
  const [one] = resultOf(IOPS, [100, 100], [100, 100]).cases;
  assert.equal(one?.comparisons.length, 3);
  assert.deepEqual(
    one?.variants.map(({ lostKicks }) => lostKicks),
    [0, 0, 0, 0, 0, 0, 4],
  );
});

test('a row that differs from what was published has a remark on the cause, with numbers that follow from the published ones', () => {
  const [off, fixed, auto] = resultOf(IOPS, [100, 100, 100], [101, 100, 99]).cases[0]?.comparisons ?? [];
  assert.match(
    off?.remark ?? '',
    /18\.0x: by Little's law .* 64 requests for 47 ms, and one alone for 1\.3 ms: .* 0\.7 ms each/,
  );
  assert.match(off?.remark ?? '', /no difference beyond the spread/);
  assert.match(fixed?.remark ?? '', /1\.06x: a device that polls is seldom asleep/);
  assert.equal(auto?.remark, undefined, 'nothing was published, and nothing differs');
});

test('a row that is as published has no remark on the published figure', () => {
  const rates = [100, 100, 100];
  const [, fixed] = resultOf(IOPS, rates, [101, 106, 110]).cases[0]?.comparisons ?? [];
  assert.equal(fixed?.publishedGain, 61_600 / 58_100);
  assert.match(fixed?.remark ?? '', /^Here eventfd is 6 % better/);
  const [, , auto] = resultOf(IOPS, rates, rates).cases[0]?.comparisons ?? [];
  assert.equal(auto?.remark, undefined);
});

test('with others at work no difference is claimed', () => {
  const disturbed = VARIANTS.map((variant) =>
    variantResult(IOPS, variant, [
      { ...round(variant.doorbell === 'signal' ? 100 : 200), disturbance: { ...quiet, foreignSeconds: 0.5 } },
    ]),
  );
  for (const { remark } of compare(IOPS, disturbed)) {
    assert.match(remark ?? '', /Others used 0\.5 processors here/);
    assert.doesNotMatch(remark ?? '', /better/);
  }
});

test('the table has a column for each variant, and the published figures in rows of their own', () => {
  const text = stripVTControlCharacters(formatNotifyBench(resultOf(IOPS, [1000, 1200], [2000, 2400]), 160));
  const row = (title: string): string[] => {
    const line = text.split('\n').find((one) => one.startsWith(`│ ${title} `)) ?? '';
    return line
      .split('│')
      .slice(2, -1)
      .map((cell) => cell.trim());
  };
  assert.deepEqual(row('requests a second').slice(0, 2), ['1.1k', '2.2k']);
  assert.deepEqual(row('the same, least of the rounds').slice(0, 2), ['1.0k', '2.0k']);
  assert.deepEqual(row("device's processor time for a request, µs").slice(0, 1), ['2.00']);
  assert.deepEqual(row('wake-ups of the driver for 1000 requests').slice(0, 1), ['250']);
  assert.deepEqual(row('published by hvisor-tool #78: requests a second').slice(0, 2), ['1.4k', '24.5k']);
  assert.deepEqual(row('eventfd against the signal: times as good').slice(0, 2), ['', '2.00x']);
  assert.deepEqual(row('the same, published by hvisor-tool #78').slice(0, 2), ['', '18.0x']);
  assert.match(text, /4 lost kicks in 2\.2k requests and 1\.1k sleeps/);
  assert.match(text, /device on CPU 1, driver on CPU 0/);
});

test('errors are shown with the first of them', () => {
  const result = resultOf(IOPS, [100], [100]);
  const [one] = result.cases;
  const [variant, ...others] = one?.variants ?? [];
  const failed = [{ ...round(100), errors: { ...newErrors(), stall: 1, first: 'nothing used' } }];
  const variants = [variantResult(IOPS, { ...(variant as NotifyVariant) }, failed), ...others];
  const text = formatNotifyBench({ ...result, cases: [{ ...(one as NotifyResult['cases'][0]), variants }] }, 120);
  assert.match(stripVTControlCharacters(text), /no polling, signal: 1 error; the first: nothing used/);
});

test('the page shows every variant and every remark', () => {
  const page = notifyPage(resultOf(LATENCY, [100, 110], [100, 120]), origin);
  assert.equal(page.match(/<svg/g)?.length, 2);
  // Three ways to poll, two doorbells, two charts.
  assert.equal(page.match(/<rect/g)?.length, 12);
  for (const says of ['C &lt;1&gt;', 'adaptive polling', 'across cores', '#78</a> has 2.25x', 'lost kicks'])
    assert.ok(page.includes(says), says);
});

test('at any width nothing is cut and nothing is too wide', () => {
  const result = resultOf(IOPS, [1000, 1200], [2000, 2400]);
  for (const columns of [60, 80, 120]) {
    const lines = stripVTControlCharacters(formatNotifyBench(result, columns)).split('\n');
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.doesNotMatch(lines.join(' '), /…/);
  }
});
