// test/cli: `belfry bench blk` as a process: it measures, reports errors, and leaves nothing behind after Ctrl-C.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { BlkBenchResult } from '../../bench/blk-result.ts';
import { eventually, patience } from '../../src/testing/patience.ts';
import { processorSecondsOf } from './belfry-process.ts';

const program = join(import.meta.dirname, '../../bin/belfry.ts');
const node = ['--disable-warning=ExperimentalWarning', program];

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...node, 'bench', 'blk', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return { child, ended: once(child, 'close').then(([code]) => ({ code, out, err })) };
}

const leftBy = (child: ChildProcess): string[] => globSync(`/dev/shm/belfry-bench-${child.pid}-*`);

/** Processes started by `parent` that still run. */
function childrenOf(parent: number): string[] {
  return globSync('/proc/[0-9]*/stat').filter((path) => {
    try {
      const stat = readFileSync(path, 'utf8');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
    } catch {
      return false;
    }
  });
}

test('bench blk measures our own back end and removes the disk', async () => {
  const { child, ended } = start('--size', '16M', '--seconds', '0.3', '--warmup', '0.2', '--json');
  const { code, out, err } = await ended;
  assert.equal(code, 0, err);
  const result = JSON.parse(out) as BlkBenchResult;
  const [backEnd] = result.cases[0]?.backEnds ?? [];
  assert.equal(backEnd?.name, 'belfry');
  assert.ok((backEnd?.summary.requestsPerSecond.median ?? 0) > 0);
  assert.equal(backEnd?.summary.errors, 0);
  assert.deepEqual(leftBy(child), []);
});

for (const wait of ['poll', 'call']) {
  test(`bench blk --op verify --wait ${wait} finds no error in our own back end, on two queues`, async () => {
    const load = ['--op', 'verify', '--wait', wait, '--queues', '2', '--depth', '16'];
    const { code, out, err } = await start(...load, '--size', '32M', '--seconds', '1', '--json').ended;
    assert.equal(code, 0, err + out);
    const result = JSON.parse(out) as BlkBenchResult;
    assert.equal(result.cases[0]?.backEnds[0]?.summary.errors, 0);
  });
}

test('bench blk --rate makes its requests and sleeps in between, --rate 0 makes none, and both print the cost', async () => {
  const seconds = String(patience(1000) / 1000);
  for (const rate of [50, 0]) {
    const { code, out, err } = await start('--rate', `${rate}`, '--size', '16M', '--seconds', seconds, '--json').ended;
    assert.equal(code, 0, err + out);
    const [backEnd] = (JSON.parse(out) as BlkBenchResult).cases[0]?.backEnds ?? [];
    const perSecond = backEnd?.summary.requestsPerSecond.median ?? -1;
    assert.ok(rate === 0 ? perSecond === 0 : perSecond > 0 && perSecond <= 1.2 * rate, `${perSecond} a second`);
    assert.equal(backEnd?.summary.errors, 0);
    assert.ok((backEnd?.summary.backEndCpus?.median ?? -1) >= 0);
  }
  const { out } = await start('--rate', '0', '--size', '16M', '--seconds', '0.5').ended;
  assert.match(out, /^no requests\n(?:.*\n)*belfry: \d+\.\d\d % of a processor \(/);
  for (const other of [['--suite'], ['--op', 'verify'], ['--wait', 'poll']]) {
    const refused = await start('--rate', '5', ...other).ended;
    assert.deepEqual([refused.code, refused.out], [2, '']);
    assert.match(refused.err, /^belfry: --rate sleeps until [^\n]+\n$/);
  }
});

test('bench blk leaves neither processes nor files behind after Ctrl-C', async (t) => {
  const { child, ended } = start('--size', '16M', '--seconds', '3600');
  t.after(() => child.kill('SIGKILL'));
  const parent = child.pid as number;
  const sockets = (): string[] => leftBy(child).flatMap((folder) => globSync(`${folder}/*.sock`));
  await eventually('the back end listens', () => sockets().length > 0);
  // Both sides have started by then, and are at work.
  const before = processorSecondsOf(parent);
  await eventually('the load runs', () => processorSecondsOf(parent) > before + 1);
  assert.ok(childrenOf(parent).length > 0);
  child.kill('SIGINT');
  const { code, err } = await ended;
  assert.equal(code, 130);
  assert.match(err, /^belfry: stopping; Ctrl-C again ends it at once\nbelfry: interrupted; .*\n$/);
  assert.deepEqual(leftBy(child), []);
  assert.equal(
    globSync('/proc/[0-9]*/cmdline').some((path) => readCommand(path).includes(`belfry-bench-${parent}-`)),
    false,
  );
});

function readCommand(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

test('regression: bench blk --html writes a page of what it measured', async (t) => {
  const html = join(mkdtempSync(join(tmpdir(), 'belfry-page-')), 'page.html');
  t.after(() => rmSync(dirname(html), { recursive: true }));
  const { code, err } = await start('--size', '16M', '--seconds', '0.2', '--warmup', '0.1', '--html', html).ended;
  assert.equal(code, 0, err);
  const page = readFileSync(html, 'utf8');
  assert.ok(page.startsWith('<!doctype html>') && page.endsWith('</html>\n'));
  assert.match(page, /Belfry \d+\.\d+\.\d+: belfry bench blk --size 16M /);
  assert.equal(page.match(/<svg/g)?.length, 3);
});

test('bench blk on a socket that does not exist is one line', async () => {
  const { code, err } = await start('--socket', '/tmp/belfry-nobody.sock').ended;
  assert.equal(code, 1);
  assert.equal(err, 'belfry: connect: ENOENT: /tmp/belfry-nobody.sock\n');
});
