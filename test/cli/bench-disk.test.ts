// test/cli: `belfry bench blk --store`, `--suite disk`, `--against belfry`, `--in-flight`: what is refused, and what is left.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BlkBenchResult } from '../../bench/blk-result.ts';
import { eventually } from '../../src/testing/patience.ts';

const program = join(import.meta.dirname, '../../bin/belfry.ts');
const PEER = 'qemu-storage-daemon';
const hasPeer = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0;
const SHORT = ['--seconds', '0.2', '--warmup', '0.1', '--rounds', '1'];

const TMPFS_MAGIC = 0x01021994;
const isOnDisk = statfsSync(tmpdir()).type !== TMPFS_MAGIC;

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const words = ['--disable-warning=ExperimentalWarning', program, 'bench', 'blk', ...args];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  return { child, ended: once(child, 'close').then(([code]) => ({ code, out, err })) };
}

async function measured(...args: string[]): Promise<BlkBenchResult> {
  const { code, out, err } = await start(...SHORT, ...args, '--json').ended;
  assert.equal(code, 0, err + out);
  return JSON.parse(out) as BlkBenchResult;
}

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-bench-disk-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('flags that contradict each other, and what may not be overwritten, are refused in one line', async (t) => {
  const folder = folderFor(t);
  const image = join(folder, 'disk.img');
  writeFileSync(image, Buffer.alloc(1 << 20, 'precious'));
  const disk = ['--suite', 'disk', '--store'];
  for (const [args, says] of [
    [['--suite', 'disk'], /--suite disk: --store PATH says which disk/],
    [['--store', folder, '--suite'], /--store: its cases are those of --suite disk/],
    [['--cells', '4K'], /--cells selects from --suite disk/],
    [['--direct'], /--direct is for a disk: --store PATH/],
    [[...disk, folder, '--direct'], /--direct: with --suite disk it is --cells direct/],
    [['--overwrite'], /--overwrite is for the image of --store/],
    [['--store', folder, '--overwrite'], /--overwrite: .* is a folder/],
    [['--store', `${folder}/none`], /--store .*\/none: it does not exist; name a folder/],
    [['--store', '/dev/null'], /--store \/dev\/null: it is neither/],
    [['--store', image, '--size', '2M'], /--size: .*disk\.img has a size/],
    [
      ['--store', image, '--op', 'randwrite'],
      /disk\.img: "cached, randwrite 4K, .*" overwrites it; .* add --overwrite/,
    ],
    [['--store', image, '--op', 'verify'], /"cached, verify 4K, .*" overwrites it/],
    [[...disk, image], /"cached, write 4K, depth 1" overwrites it; take cases that read \(--cells read\)/],
    [['--store', image, '--overwrite', '--against', 'belfry'], /--against belfry: each one locks an image/],
    [['--store', folder, '--socket', '/tmp/x.sock'], /--store is for back ends that bench starts/],
    [['--engine', 'uring', '--socket', '/tmp/x.sock'], /--engine too/],
    [['--peer-args', '--quiet'], /--peer-args is for --against belfry/],
    [[...disk, folder, '--against', PEER, '--peer-engines', 'native'], /--peer-engines native: it needs O_DIRECT/],
  ] as const) {
    const { code, out, err } = await start(...args).ended;
    assert.deepEqual([code, out], [2, ''], err);
    assert.match(err, says);
    assert.match(err, /^belfry: [^\n]+\n$/);
  }
  assert.ok(readFileSync(image).equals(Buffer.alloc(1 << 20, 'precious')));
});

test('cells are measured on a scratch image, which is removed', async (t) => {
  const folder = folderFor(t);
  const args = ['--store', folder, '--suite', 'disk', '--cells', 'cached,4K,16', '--size', '8M', '--engine', 'sync'];
  const { cases, notes, failed, diskBytes } = await measured(...args);
  assert.deepEqual(
    cases.map(({ name }) => name),
    ['cached, read 4K, depth 16', 'cached, write 4K, depth 16'],
  );
  for (const { cache, backEnds } of cases) {
    const [ours] = backEnds;
    assert.equal(cache, 'cached');
    assert.match(ours?.command?.join(' ') ?? '', /--engine sync/);
    assert.ok((ours?.summary.requestsPerSecond.median ?? 0) > 0);
    assert.equal(ours?.summary.errors, 0);
  }
  assert.match(notes.join('\n'), /takes engine \w+ here/);
  assert.deepEqual([failed, diskBytes, readdirSync(folder)], [[], 8 << 20, []]);
});

const noDisk = isOnDisk ? false : 'it takes a temporary folder on a disk';

test('direct cells are measured with O_DIRECT, of ours too', { skip: noDisk }, async (t) => {
  const args = ['--store', folderFor(t), '--suite', 'disk', '--cells', 'direct,4K,16', '--size', '8M'];
  const { cases } = await measured(...args, ...(hasPeer ? ['--against', PEER] : []));
  assert.equal(cases.length, 2);
  for (const { backEnds } of cases) {
    assert.equal(backEnds.length, hasPeer ? 4 : 1);
    for (const { command, summary } of backEnds) {
      assert.match(command?.join(' ') ?? '', /--direct|cache\.direct=on/);
      assert.equal(summary.errors, 0);
    }
  }
});

test('a cell that fails does not lose those before it, and the exit code says that one failed', async (t) => {
  const args = ['--store', folderFor(t), '--suite', 'disk', '--cells', 'cached,read,1', '--size', '512K'];
  const { code, out, err } = await start(...SHORT, ...args).ended;
  assert.equal(code, 1, err);
  assert.match(out, /│ cached, read 4K, depth 1 +│(?:.*\n)*│ cached, read 64K, depth 1 /);
  assert.match(out, /^cached, read 1M, depth 1: not measured: the disk has 524288 bytes, .* at least 1048576$/m);
});

test('Ctrl-C in the middle of a cell removes the scratch image', async (t) => {
  const folder = folderFor(t);
  const { child, ended } = start('--store', folder, '--size', '8M', '--seconds', '3600');
  t.after(() => child.kill('SIGKILL'));
  const left = (): string[] => globSync(`/dev/shm/belfry-bench-${child.pid}-*`);
  await eventually('the back end listens', () => left().some((path) => readdirSync(path).includes('belfry.sock')));
  assert.equal(readdirSync(folder).length, 1);
  child.kill('SIGINT');
  const { code, err } = await ended;
  assert.equal(code, 130, err);
  assert.deepEqual([readdirSync(folder), left()], [[], []]);
});

test('an image is read without being changed, and overwritten only when told', async (t) => {
  const image = join(folderFor(t), 'disk.img');
  const before = Buffer.alloc(4 << 20, 'precious');
  writeFileSync(image, before);
  const { cases } = await measured('--store', image, '--depth', '4');
  assert.match(cases[0]?.backEnds[0]?.command?.join(' ') ?? '', /--read-only/);
  assert.ok(readFileSync(image).equals(before));
  const written = await measured('--store', image, '--op', 'verify', '--overwrite');
  assert.equal(written.cases[0]?.backEnds[0]?.summary.errors, 0);
  assert.equal(readFileSync(image).includes('precious'), false);
});

test('two of ours are compared: with other arguments, and with requests recorded in flight', async () => {
  const args = [
    '--against',
    'belfry',
    '--in-flight',
    '--serve-args',
    '--limit iops=10000000',
    '--peer-args',
    '--poll off',
  ];
  const { cases } = await measured('--size', '8M', ...args);
  const [ours, other] = cases[0]?.backEnds ?? [];
  assert.deepEqual([ours?.name, other?.name], ['belfry', 'other belfry']);
  assert.match(ours?.command?.join(' ') ?? '', /--limit iops=10000000$/);
  assert.match(other?.command?.join(' ') ?? '', /--poll off$/);
  assert.deepEqual([ours?.summary.errors, other?.summary.errors], [0, 0]);
  assert.ok((cases[0]?.ratio ?? 0) > 0);
});

test(`the peer's engines serve the same image, native only past the page cache`, { skip: !hasPeer }, async (t) => {
  const args = ['--store', folderFor(t), '--suite', 'disk', '--cells', '4K,read,1,cached', '--size', '8M'];
  const { cases } = await measured(...args, '--against', PEER);
  const [{ backEnds } = { backEnds: [] }] = cases;
  assert.deepEqual(
    backEnds.map(({ name }) => name),
    ['belfry', 'qsd threads', 'qsd io_uring'],
  );
  assert.match(backEnds[1]?.command?.join(' ') ?? '', /cache\.direct=off/);
  assert.deepEqual(new Set(backEnds.map(({ summary }) => summary.errors)), new Set([0]));
});
