// bench: how rounds and back ends are put together, and shown.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { blkCase, suiteOf } from './blk-cases.ts';
import { blkPage } from './blk-page.ts';
import { type BackEndResult, type CaseResult, caseResult, type Round, roundOf, summarizeRounds } from './blk-result.ts';
import { blkFigures, formatBlkBench } from './blk-table.ts';
import { DEFAULT_LOAD, newErrors, type QueueResult } from './load/load-spec.ts';
import type { ProcessorUse } from './processor-use.ts';

const processors: ProcessorUse = {
  backEnd: 0.5,
  backEndSeconds: 1,
  backEndInvoluntarySwitches: 3,
  foreign: 0.02,
  stolen: 0,
  loadAverage: 1.5,
};

function queue(requests: number, elapsedMs: number, latencyNs: number): QueueResult {
  const latency = createHistogram();
  latency.record(latencyNs);
  return { requests, elapsedMs, latency, kicks: 10, calls: 20, errors: newErrors(), involuntarySwitches: 1 };
}

function backEnd(name: string, rates: readonly number[]): BackEndResult {
  const rounds = rates.map((rate): Round => roundOf([queue(rate, 1000, 5000)], 4096, processors));
  const summary = summarizeRounds(rounds);
  return { name, command: [name], frontEndCpus: [0], backEndCpu: 1, rounds, summary };
}

test('a round adds up its queues: rates, latencies, kicks, calls, errors', () => {
  const broken = queue(500, 1000, 9000);
  broken.errors.data = 2;
  broken.errors.first = 'a block was lost';
  const round = roundOf([queue(1000, 2000, 1000), broken], 4096, processors);
  assert.equal(round.requestsPerSecond, 1000);
  assert.equal(round.bytesPerSecond, 4096 * 1000);
  assert.deepEqual([round.kicks, round.calls, round.requests], [20, 40, 1500]);
  assert.ok(round.p50Us >= 1 && round.p50Us < 1.1 && round.p9999Us >= 9 && round.p9999Us < 9.1);
  assert.deepEqual([round.errors.data, round.errors.first], [2, 'a block was lost']);
});

test('a round in which everything stalled is a round of zeroes', () => {
  const stalled = { ...queue(0, 0, 1), latency: createHistogram() };
  const round = roundOf([stalled], 4096, processors);
  assert.deepEqual(
    [round.requestsPerSecond, round.p50Us, summarizeRounds([round]).kicksPerThousand.median],
    [0, 0, 10_000],
  );
});

test('the ratio is that of the medians, to the best peer', () => {
  const one = caseResult(
    'c',
    DEFAULT_LOAD,
    [backEnd('ours', [900, 100, 400]), backEnd('a', [50]), backEnd('b', [200, 100])],
    [],
  );
  assert.equal(one.bestPeer, 'b');
  assert.equal(one.ratio, 400 / 150);
  assert.equal(caseResult('c', DEFAULT_LOAD, [backEnd('ours', [1])], []).ratio, undefined);
});

test('processor seconds for a million requests are known only where the process is', () => {
  const known = summarizeRounds([roundOf([queue(1000, 1000, 1)], 512, processors)]);
  assert.equal(known.backEndSecondsPerMillion?.median, 1000);
  const unknown = { ...processors, backEnd: undefined, backEndSeconds: undefined };
  assert.equal(summarizeRounds([roundOf([queue(1000, 1000, 1)], 512, unknown)]).backEndCpus, undefined);
});

test('the table shows each back end, the ratio, what disturbed it and the first error', () => {
  const bad = backEnd('ours', [2_500_000]);
  const [round] = bad.rounds as [Round];
  const disturbed = {
    ...round,
    processors: { ...processors, foreign: 0.4 },
    errors: { ...round.errors, status: 7, first: 'it failed' },
  };
  const load = blkCase(DEFAULT_LOAD);
  const one = caseResult(
    load.name,
    load.load,
    [{ ...bad, rounds: [disturbed] }, backEnd('peer', [500_000])],
    ['qsd native: no'],
  );
  const machine = { cpuModel: 'C', cpus: 2, kernel: '6', node: 'v26' };
  const text = stripVTControlCharacters(formatBlkBench({ machine, diskBytes: 1, cases: [one] }, 120));
  for (const expected of [
    'randread 4K, depth 64, front end waits for calls',
    /│ back end +│ +ours │ +peer │/,
    /│ requests a second +│ +2\.50M │ +500\.0k │/,
    /│ processors others used +│ +0\.40 ! │ +0\.02 │/,
    /│ requests against the best peer +│ +5\.00x │ best peer │/,
    'ours: errors: 7 status; the first: it failed',
    'qsd native: no',
    'front end on CPU 0, back end on CPU 1',
  ]) {
    if (typeof expected === 'string') assert.ok(text.includes(expected), text);
    else assert.match(text, expected);
  }
});

test('the suite has the usual cases, each under a name of its own, on the time given', () => {
  const cases = suiteOf({ ...DEFAULT_LOAD, seconds: 9 });
  assert.equal(new Set(cases.map(({ name }) => name)).size, 6);
  assert.ok(cases.every(({ load }) => load.seconds === 9));
  assert.deepEqual(
    cases.filter(({ backEndPolls }) => backEndPolls).map(({ load }) => load.depth),
    [1],
  );
});

/** Four back ends, with names and figures as wide as they come. */
function wideCase(rounds: number): CaseResult {
  const names = ['belfry', 'qsd threads', 'qsd io_uring', 'qsd native'];
  const rates = Array.from({ length: rounds }, (_, i) => 2_500_000 + i);
  return caseResult(
    blkCase(DEFAULT_LOAD).name,
    DEFAULT_LOAD,
    names.map((name) => backEnd(name, rates)),
    [],
  );
}

test('regression: at any width nothing is cut and nothing is too wide', () => {
  const machine = { cpuModel: 'An Example Processor of a Considerable Length', cpus: 2, kernel: '6', node: 'v26' };
  for (const columns of [60, 80, 120]) {
    const text = formatBlkBench({ machine, diskBytes: 1, cases: [wideCase(3)] }, columns);
    const lines = stripVTControlCharacters(text).split('\n');
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.doesNotMatch(lines.join(' '), /…/);
    assert.equal(lines.join('\n').match(/io_uring/g)?.length, 1);
  }
});

test('regression: what there is none of has no row: a ratio without peers, a range of one round', () => {
  const alone = caseResult('c', DEFAULT_LOAD, [backEnd('belfry', [1000])], []);
  const { head } = blkFigures(alone);
  assert.ok(!head.some((title) => /peer|round/.test(title)), `${head}`);
  assert.ok(blkFigures(wideCase(2)).head.includes('requests a second, worst round'));
});

test('the page shows every back end, with nothing of a terminal in it', () => {
  const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: 'belfry bench blk' };
  const machine = { cpuModel: 'C', cpus: 2, kernel: '6', node: 'v26' };
  const page = blkPage({ machine, diskBytes: 1, cases: [wideCase(2)] }, origin);
  assert.equal(page.match(/<svg/g)?.length, 3);
  assert.equal(page.match(/<rect/g)?.length, 12);
  assert.equal(stripVTControlCharacters(page), page);
  assert.doesNotMatch(page, /NaN|undefined/);
});
