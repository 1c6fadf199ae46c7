// test/cli: disks that fail while a front end uses them: no room and room again, SIGCONT, and the end of `serve` meanwhile.
import assert from 'node:assert/strict';
import { rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ENGINE_NAMES } from '../../src/stores/open-store.ts';
import { uringProblem } from '../../src/stores/ring-file.ts';
import { type BlockRequest, blockRequest } from '../../src/testing/block-request.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { mountTmpfs } from '../../src/testing/small-tmpfs.ts';
import { testFolder } from './belfry-process.ts';
import { type ServedDisk, serveDisk } from './served-disk.ts';

const MIB = 2 ** 20;
const BYTES = 32 * 1024;
const SECTORS = BYTES / 512;
const WRITES = 7;

function serve(t: TestContext, store: string, ...flags: readonly string[]): Promise<ServedDisk> {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'failing.ts'), FAILING);
  return serveDisk(folder, [store, ...flags]);
}

/** A file system with room for one or two of the writes, and an image on it. */
function fullFolder(t: TestContext): string | undefined {
  const folder = mountTmpfs(t, MIB);
  if (folder === undefined) return undefined;
  writeFileSync(join(folder, 'filler'), new Uint8Array(MIB - 2 * BYTES));
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), MIB);
  return folder;
}

const write = (i: number): BlockRequest => blockRequest.write(i * SECTORS, new Uint8Array(BYTES).fill(i + 1));
const writes = Array.from({ length: WRITES }, (_, i) => write(i));
const HELD =
  /^belfry: store .*disk\.img: write at byte \d+ failed: .*ENOSPC.*; it waits, with all later writes, until/m;

for (const engine of ENGINE_NAMES) {
  const skip = engine === 'uring' && uringProblem();
  test(`a guest writes to a full file system, room is made, and nothing is lost: ${engine}`, { skip }, async (t) => {
    const full = fullFolder(t);
    if (full === undefined) return;
    await using serving = await serve(t, join(full, 'disk.img'), '--engine', engine);
    await using other = await serve(t, 'mem:1M');
    using guest = new RawGuest();
    using otherGuest = new RawGuest();
    using attached = await serving.attach(guest);
    using otherAttached = await other.attach(otherGuest);
    attached.ring.submit(...writes);
    await serving.process.complains(HELD);
    assert.equal((await otherAttached.ring.serve(write(0)))[0]?.status, 0);
    rmSync(join(full, 'filler'));
    const results = await attached.ring.results();
    assert.deepEqual(
      results.map(({ status }) => status),
      new Array(WRITES).fill(0),
    );
    await serving.process.says(/^store .*disk\.img: no request is held any more, after [\d.]+ s$/m);
    for (let i = 0; i < WRITES; i++) {
      const [result] = await attached.ring.serve(blockRequest.read(i * SECTORS, BYTES));
      assert.deepEqual(result?.data, new Uint8Array(BYTES).fill(i + 1));
    }
    assert.ok(statSync(join(full, 'disk.img')).blocks * 512 >= WRITES * BYTES);
    serving.process.kill('SIGTERM');
    const { code, stderr } = await serving.process.ended;
    assert.equal(code, 0);
    assert.equal(stderr.match(new RegExp(HELD, 'gm'))?.length, 1, stderr);
  });
}

test('with --on-write-error report a write without room fails, and no other', async (t) => {
  const full = fullFolder(t);
  if (full === undefined) return;
  await using serving = await serve(t, join(full, 'disk.img'), '--on-write-error', 'report');
  using guest = new RawGuest();
  using attached = await serving.attach(guest);
  const statuses = (await attached.ring.serve(...writes)).map(({ status }) => status);
  assert.ok(statuses.includes(1) && statuses.includes(0), statuses.join());
});

/** Fails with EIO until the file `mended` exists. */
const FAILING = `
import { existsSync } from 'node:fs';
const ask = () => {
  if (!existsSync('mended')) throw Object.assign(new Error('no medium'), { code: 'EIO' });
};
export default { name: 'failing', sizeBytes: 1048576, read: ask, write: ask, async flush() {} };`;

for (const threads of ['1', '2'])
  test(`--on-error stop: what is held is tried again on SIGCONT, and not before (${threads} threads)`, async (t) => {
    await using serving = await serve(t, './failing.ts', '--on-error', 'stop', '--threads', threads);
    using guest = new RawGuest();
    using attached = await serving.attach(guest);
    attached.ring.submit(write(0), blockRequest.read(0, 512), blockRequest.flush());
    const line =
      /^belfry: store failing: write at byte 0 failed: no medium; it waits, with all later writes, until SIGCONT/;
    await serving.process.complains(line);
    serving.process.kill('SIGCONT');
    // It failed again.
    await serving.process.complains(/(?:no medium; it waits(?:.|\n)*){2}/);
    assert.deepEqual(attached.ring.driver.harvest(), []);
    writeFileSync(join(serving.folder, 'mended'), '');
    serving.process.kill('SIGCONT');
    const results = await attached.ring.results();
    assert.deepEqual(
      results.map(({ status }) => status),
      [0, 0, 0],
    );
  });

test('SIGTERM ends it although requests are held: they fail', async (t) => {
  await using serving = await serve(t, './failing.ts', '--on-error', 'stop');
  using guest = new RawGuest();
  using attached = await serving.attach(guest);
  attached.ring.submit(write(0), write(1));
  await serving.process.complains(/it waits/);
  serving.process.kill('SIGTERM');
  const { code, stderr } = await serving.process.ended;
  assert.equal(code, 0);
  assert.match(stderr, /^belfry: store failing: the held requests of a queue fail \(2\): it has to stop$/m);
  const results = attached.ring.driver.harvest();
  assert.deepEqual(
    results.map(({ request, status }) => [request.sector, status]),
    [
      [0, 1],
      [SECTORS, 1],
    ],
  );
});
