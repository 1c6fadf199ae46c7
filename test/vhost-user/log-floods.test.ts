// test/vhost-user: log lines that a guest or a front end can cause repeatedly are limited in number.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ServedDevice } from '../../src/daemon/served-device.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { serve } from '../../src/serve.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { RawFrontEnd, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { encodeConfig } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { FEATURES, negotiate } from './back-end.ts';

/** More by hand: BELFRY_FLOOD=100000. */
const FLOOD = Number(process.env.BELFRY_FLOOD ?? 20_000);
const RING_SIZE = 256;
const SECTORS = 2 ** 20;
/** Five at once, then one a second, then ever more rarely: a flood of an hour is far below. */
const LINES_MAX = 200;
const GROWTH_MIB_MAX = 8;

const FULL_DISK = `export default {
  sizeBytes: ${SECTORS * 512},
  name: 'full',
  read() {},
  write() { throw new Error('no space left'); },
};`;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

interface Serving extends AsyncDisposable {
  readonly lines: string[];
  readonly server: ServedDevice;
  connect(): RawFrontEnd;
}

/** A disk whose writes fail, served as a script serves it: as an object on this thread, or as a module on one of its own. */
async function serveFullDisk(how: 'object' | 'module'): Promise<Serving> {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-flood-'));
  const module = pathToFileURL(join(folder, 'disk.ts'));
  writeFileSync(module, FULL_DISK);
  const vhostUser = join(folder, 'disk.sock');
  const lines: string[] = [];
  const options = { vhostUser, log: (line: string) => void lines.push(line) };
  const server =
    how === 'module' ? serve(module, options) : serve(new BlockDevice((await import(module.href)).default), options);
  await server.ready();
  return {
    lines,
    server,
    connect: () => RawFrontEnd.connect(vhostUser),
    async [Symbol.asyncDispose]() {
      await server.close();
      rmSync(folder, { recursive: true });
    },
  };
}

/** MiB of memory that `flood` leaves behind. */
async function growthOf(flood: () => Promise<void>): Promise<number> {
  collectGarbage();
  const before = process.memoryUsage();
  await flood();
  collectGarbage();
  const after = process.memoryUsage();
  return (after.heapUsed + after.external - before.heapUsed - before.external) / 2 ** 20;
}

/** Few lines of this kind, and each of `FLOOD` is in what they count. */
function assertBounded(lines: readonly string[], kind: RegExp, growthMiB: number): void {
  const told = lines.filter((line) => kind.test(line));
  const more = told.map((line) => Number(/\(and ([\d,]+) more like it\)$/.exec(line)?.[1]?.replaceAll(',', '') ?? 0));
  assert.equal(
    more.reduce((sum, count) => sum + count, told.length),
    FLOOD,
  );
  assert.ok(told.length < LINES_MAX, `${told.length} lines`);
  assert.ok(growthMiB < GROWTH_MIB_MAX, `${growthMiB.toFixed(1)} MiB more`);
}

for (const how of ['object', 'module'] as const)
  test(`regression: ${FLOOD} writes that fail cost a bounded number of lines, and no memory (${how})`, async (t) => {
    await using serving = await serveFullDisk(how);
    using guest = new RawGuest();
    using front = serving.connect();
    const ring = guest.ring(0, FEATURES, RING_SIZE);
    await negotiate(front);
    await front.settle(setMemTable([guest.region]), ...ring.start());
    const data = new Uint8Array(512);
    const growthMiB = await growthOf(async () => {
      for (let done = 0; done < FLOOD; ) {
        const count = Math.min(RING_SIZE / 2, FLOOD - done);
        const writes = Array.from({ length: count }, (_, i) => blockRequest.write((done + i * 977) % SECTORS, data));
        for (const { status } of await ring.serve(...writes)) assert.equal(status, 1);
        done += count;
      }
    });
    await serving.server.close();
    t.diagnostic(`${serving.lines.length} lines, ${growthMiB.toFixed(1)} MiB`);
    assertBounded(serving.lines, /^store full: write at byte \d+ failed: no space left/, growthMiB);
  });

test(`regression: ${FLOOD} refused SET_CONFIG cost a bounded number of lines, and no memory`, async (t) => {
  await using serving = await serveFullDisk('object');
  using front = serving.connect();
  const AT_ONCE = 100;
  const growthMiB = await growthOf(async () => {
    for (let done = 0; done < FLOOD; done += AT_ONCE) {
      const messages = Array.from({ length: AT_ONCE }, (_, i) => ({
        request: Request.SET_CONFIG,
        payload: encodeConfig((done + i) % 56, new Uint8Array(1 + (i % 4))),
      }));
      await front.settle(...messages);
    }
  });
  await serving.server.close();
  t.diagnostic(`${serving.lines.length} lines, ${growthMiB.toFixed(1)} MiB`);
  assertBounded(serving.lines, /^SET_CONFIG: \d bytes at \d+ of the configuration space are read-only/, growthMiB);
});
