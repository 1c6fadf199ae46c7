// bench: how rounds and back ends are put together, and shown.
import assert from 'node:assert/strict';
import { createHistogram } from 'node:perf_hooks';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { blkCase, suiteOf } from './blk-cases.ts';
import { blkPage } from './blk-page.ts';
import {
  type BackEndResult,
  type BlkBenchResult,
  type CaseResult,
  caseResult,
  type Round,
  roundOf,
  summarizeRounds,
} from './blk-result.ts';
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

function resultOf(cases: readonly CaseResult[]): BlkBenchResult {
  const machine = { cpuModel: 'An Example Processor of a Considerable Length', cpus: 2, kernel: '6', node: 'v26' };
  return { machine, diskBytes: 1, cases, notes: [], failed: [] };
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
  const text = stripVTControlCharacters(formatBlkBench(resultOf([one]), 120));
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
  for (const columns of [60, 80, 120]) {
    const text = formatBlkBench(resultOf([wideCase(3)]), columns);
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
  const page = blkPage(resultOf([wideCase(2)]), origin);
  assert.equal(page.match(/<svg/g)?.length, 3);
  assert.equal(page.match(/<rect/g)?.length, 12);
  assert.equal(stripVTControlCharacters(page), page);
  assert.doesNotMatch(page, /NaN|undefined/);
});

/** A cell of the suite for a disk, against two engines. */
function cell(name: string, ours: readonly number[], load = DEFAULT_LOAD): CaseResult {
  const peers = [backEnd('qsd threads', [900]), backEnd('qsd io_uring', [1000, 1100, 800])];
  return caseResult(name, load, [backEnd('belfry', ours), ...peers], [], 'direct');
}

test('the ratios of a case are to the peer with the most requests, and 1 is as much', () => {
  const one = cell('a', [1500, 1400]);
  assert.deepEqual([one.bestPeer, one.ratio, one.p9999Ratio], ['qsd io_uring', 1.45, 1]);
  assert.deepEqual([one.roundRatios?.min, one.roundRatios?.max], [1400 / 1100, 1.5]);
  const { head, rows } = blkFigures(one);
  assert.deepEqual(
    [head.at(-1), rows.map((row) => row.at(-1))],
    ['the same, worst and best round', ['1.27..1.50', '', '']],
  );
  // A second of processor time each, for 1450 and 1000 requests by the medians of their rounds.
  assert.ok(Math.abs((one.processorRatio ?? 0) - 1.45) < 0.01, `${one.processorRatio}`);
  const alone = caseResult('b', DEFAULT_LOAD, [backEnd('belfry', [1])], []);
  assert.deepEqual([alone.ratio, alone.p9999Ratio, alone.processorRatio], [undefined, undefined, undefined]);
});

test('cells of a suite are rows of two tables, with their spread, and what failed is said', () => {
  const large = { ...DEFAULT_LOAD, blockBytes: 1 << 20 };
  const cells = [
    cell('direct, read 4K, depth 64', [2000, 3000, 1000]),
    cell('direct, read 1M, depth 1', [5000], large),
  ];
  const result = { ...resultOf(cells), notes: ['it has holes'], failed: ['direct, write 1M: not measured: no room'] };
  const text = stripVTControlCharacters(formatBlkBench(result, 120));
  for (const expected of [
    /│ cell +│ +belfry, a second │ +best peer │ +its rate │ +ratio │/,
    /│ direct, read 4K, depth 64 │ +2\.0k \[1\.0k\.\.3\.0k\] │ qsd io_uring │ +1\.0k \[800\.\.1\.1k\] │ +2\.00x \[1\.25\.\.2\.73\] │/,
    /│ direct, read 1M, depth 1 +│ +0\.02 \[/,
    /│ +1\.00x │ +2\.00x │/,
    /^it has holes$/m,
    /^direct, write 1M: not measured: no room$/m,
  ])
    assert.match(text, expected);
  for (const columns of [40, 80]) {
    const lines = stripVTControlCharacters(formatBlkBench(result, columns)).split('\n');
    for (const line of lines) assert.ok(line.length <= columns, line);
  }
});

test('cells without a peer have neither a peer nor a ratio, and the page has the tables before the charts', () => {
  const cells = ['a', 'b'].map((name) => caseResult(name, DEFAULT_LOAD, [backEnd('belfry', [9])], [], 'cached'));
  const text = stripVTControlCharacters(formatBlkBench(resultOf(cells), 120));
  assert.doesNotMatch(text, /peer|ratio|undefined/);
  const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: 'belfry bench blk' };
  const page = blkPage(resultOf(Array.from({ length: 36 }, (_, i) => cell(`${i}`, [1000 + i]))), origin);
  assert.deepEqual(page.match(/<h2>[A-Z][^<]*/g), ['<h2>Throughput', '<h2>Latency and cost']);
  assert.match(page, /class="lead">Against the best peer of each cell: 1\.02x in the middle, 1\.00x to 1\.03x\./);
  assert.doesNotMatch(page, /NaN|undefined/);
});
