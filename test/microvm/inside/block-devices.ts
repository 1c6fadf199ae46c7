// test/microvm/inside: block devices that fail, are slow, stand still and come back: device-mapper and null_blk, on each engine.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { type BlockRequest, blockRequest } from '../../../src/testing/block-request.ts';
import { RawGuest } from '../../../src/testing/raw-guest.ts';
import { belfry, testFolder } from '../../cli/belfry-process.ts';
import { type ServedDisk, serveDisk } from '../../cli/served-disk.ts';
import type { Attached } from '../../vhost-user/back-end.ts';

const MIB = 2 ** 20;
const DISK_MIB = 8;
const SECTORS = (DISK_MIB * MIB) / 512;
const MIDDLE = SECTORS / 2;
const CONFIG = '/sys/kernel/config';
const OK = 0;
const IOERR = 1;

/** Whether this is a machine whose block devices are ours to make. */
const skip = existsSync('/proc/misc') && existsSync('/sys/module/null_blk') ? false : 'null_blk is not loaded here';

/** A disk in memory that the kernel's null_blk makes; its path. */
function nullBlock(owned: DisposableStack, blockSize = 512): string {
  if (!existsSync(`${CONFIG}/nullb`)) execFileSync('mount', ['-t', 'configfs', 'configfs', CONFIG]);
  const folder = `${CONFIG}/nullb/disk${blockSize}`;
  mkdirSync(folder);
  owned.defer(() => rmdirSync(folder));
  const settings = { memory_backed: 1, discard: 1, size: DISK_MIB, blocksize: blockSize, power: 1 };
  for (const [name, value] of Object.entries(settings)) writeFileSync(`${folder}/${name}`, `${value}`);
  return `/dev/disk${blockSize}`;
}

/** There is no udev here: nobody would answer it, and it makes no links in /dev/mapper. */
function dmsetup(...words: readonly string[]): string {
  return execFileSync('dmsetup', ['--noudevsync', ...words], { encoding: 'utf8' }).trim();
}

/** A device of device-mapper with this table, whose lines are targets; its path. */
function mapped(owned: DisposableStack, name: string, table: readonly string[]): string {
  dmsetup('create', name, '--table', table.join('\n'));
  owned.defer(() => dmsetup('remove', '--force', name));
  return `/dev/${dmsetup('info', '-c', '--noheadings', '-o', 'blkdevname', name)}`;
}

/** Another table takes the place of the one of `name`, while it is in use. */
function change(name: string, table: readonly string[]): void {
  dmsetup('suspend', '--nolockfs', name);
  dmsetup('load', name, '--table', table.join('\n'));
  dmsetup('resume', name);
}

const linear = (disk: string): string[] => [`0 ${SECTORS} linear ${disk} 0`];

interface Used extends AsyncDisposable {
  readonly disk: ServedDisk;
  readonly ring: Attached['ring'];
  /** Makes requests one by one; returns their statuses. */
  statuses(...requests: readonly BlockRequest[]): Promise<number[]>;
}

async function use(t: TestContext, path: string, ...flags: readonly string[]): Promise<Used> {
  const disk = await serveDisk(testFolder(t), [path, ...flags]);
  const guest = new RawGuest();
  const attached = await disk.attach(guest);
  const { ring } = attached;
  return {
    disk,
    ring,
    async statuses(...requests) {
      const statuses: number[] = [];
      for (const request of requests) statuses.push((await ring.serve(request))[0]?.status ?? -1);
      return statuses;
    },
    async [Symbol.asyncDispose]() {
      attached[Symbol.dispose]();
      guest[Symbol.dispose]();
      await disk[Symbol.asyncDispose]();
    },
  };
}

const bytes = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);
const write = (sector: number, fill: number): BlockRequest => blockRequest.write(sector, bytes(fill));
const read = (sector: number): BlockRequest => blockRequest.read(sector, 4096);

test('device-mapper error: what is in the bad middle fails alone', { skip }, async (t) => {
  using owned = new DisposableStack();
  const good = nullBlock(owned);
  const end = SECTORS - MIDDLE - 8;
  const last = `${MIDDLE + 8} ${end} linear ${good} ${MIDDLE + 8}`;
  const bad = mapped(owned, 'bad', [`0 ${MIDDLE} linear ${good} 0`, `${MIDDLE} 8 error`, last]);
  await using used = await use(t, bad, '--engine', 'uring', '--direct');
  assert.deepEqual(await used.statuses(write(0, 7), read(MIDDLE), write(MIDDLE, 1), read(0), blockRequest.flush()), [
    OK,
    IOERR,
    IOERR,
    OK,
    OK,
  ]);
  await used.disk.process.complains(/\/dev\/dm-\d+: read at byte 4194304 failed: .*EIO/);
});

test('regression: a disk whose first bytes cannot be read is named, and served with --format raw', {
  skip,
}, async (t) => {
  using owned = new DisposableStack();
  const good = nullBlock(owned);
  const bad = mapped(owned, 'headless', [`0 8 error`, `8 ${SECTORS - 8} linear ${good} 8`]);
  const { code, stderr } = await belfry(['serve', 'blk', bad, '--socket', 'sock'], { cwd: testFolder(t) });
  assert.match(stderr, /^belfry: pread: EIO: \/dev\/dm-\d+: its first or last 512 bytes, [^\n]*--format raw[^\n]*\n$/);
  assert.equal(code, 1);
  await using used = await use(t, bad, '--format', 'raw', '--direct');
  assert.deepEqual(await used.statuses(read(0), write(8, 1), read(8)), [IOERR, OK, OK]);
});

test('device-mapper flakey: held while it fails, tried again on SIGCONT, nothing lost', { skip }, async (t) => {
  using owned = new DisposableStack();
  const good = nullBlock(owned);
  await using used = await use(t, mapped(owned, 'flaky', linear(good)), '--on-error', 'stop', '--direct');
  change('flaky', [`0 ${SECTORS} flakey ${good} 0 0 3600`]);
  used.ring.submit(write(0, 1), write(8, 2), write(16, 3));
  await used.disk.process.complains(/\/dev\/dm-\d+: write at byte \d+ failed: .*; it waits, with all later writes/);
  change('flaky', linear(good));
  used.disk.process.kill('SIGCONT');
  const held = await used.ring.results();
  assert.deepEqual(
    held.map(({ status }) => status),
    [OK, OK, OK],
  );
  for (const [i, sector] of [0, 8, 16].entries())
    assert.deepEqual((await used.ring.serve(read(sector)))[0]?.data, bytes(i + 1));
});

test('device-mapper suspend and delay: its requests wait, and another disk does not', { skip }, async (t) => {
  using owned = new DisposableStack();
  const good = nullBlock(owned);
  await using used = await use(t, mapped(owned, 'slow', linear(good)), '--engine', 'uring', '--direct');
  await using other = await use(t, 'mem:1M');
  assert.deepEqual(await used.statuses(write(0, 5)), [OK]);
  dmsetup('suspend', '--nolockfs', 'slow');
  used.ring.submit(read(0), write(8, 6));
  assert.deepEqual(await other.statuses(write(0, 1), read(0)), [OK, OK]);
  await used.disk.process.complains(/store \/dev\/dm-\d+: no answer to (read|write) at byte \d+ for \d+ s; 2 requests/);
  assert.deepEqual(used.ring.driver.harvest(), []);
  change('slow', [`0 ${SECTORS} delay ${good} 0 1500`]);
  const waited = await used.ring.results();
  assert.deepEqual(
    waited.map(({ status }) => status),
    [OK, OK],
  );
  assert.deepEqual((await used.ring.serve(read(8)))[0]?.data, bytes(6));
});

test('a block device of 4096: discard and write zeroes are done by the device', { skip }, async (t) => {
  using owned = new DisposableStack();
  // Not --direct: null_blk loses data of a direct read whose buffers it gets cut elsewhere than those of the write.
  await using used = await use(t, nullBlock(owned, 4096));
  const range = { sector: 0, sectors: 8 };
  for (const erase of [blockRequest.writeZeroes(range), blockRequest.discard(range)]) {
    assert.deepEqual(await used.statuses(write(0, 9), write(8, 8), blockRequest.flush(), erase), [OK, OK, OK, OK]);
    assert.deepEqual((await used.ring.serve(read(0)))[0]?.data, bytes(0));
    assert.deepEqual((await used.ring.serve(read(8)))[0]?.data, bytes(8));
  }
});
