// test/cli: `serve --limit`: a disk whose guest asks for more than the limit never gets more.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type BlockRequest, blockRequest } from '../../src/testing/block-request.ts';
import { RawFrontEnd, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { FEATURES, negotiate } from '../vhost-user/back-end.ts';
import { startBelfry, testFolder, withoutDelays } from './belfry-process.ts';

const RATE = 400;
const BURST = 0.05;
const REQUESTS = 200;
const DISK = `
const bytes = new Uint8Array(1 << 20);
export default {
  sizeBytes: bytes.length,
  read: async (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
  write: (offset, from) => bytes.set(from, offset),
};
`;

/** Serves one request after another through each ring, REQUESTS in all. Calls `served` after each. */
async function load(rings: readonly RawRing[], request: BlockRequest, served: () => void): Promise<void> {
  let begun = 0;
  const serveOn = async (ring: RawRing): Promise<void> => {
    while (begun++ < REQUESTS) {
      const [result] = await ring.serve(request);
      assert.equal(result?.status, 0);
      served();
    }
  };
  await Promise.all(rings.map(serveOn));
}

for (const [name, args] of [
  ['an image on two threads', ['mem:1M', '--threads', '2', '--limit', `iops=${RATE},burst=${BURST}`]],
  ['an image whose reads are limited', ['mem:1M', '--limit-read', `iops=${RATE},burst=${BURST}`]],
  ['a module, by its bytes', ['./disk.ts', '--limit', `bps=${RATE * 1024},burst=${BURST}`]],
] as const) {
  test(`serve --limit: ${name}: never more than the burst and the rate, and nothing fails`, async (t) => {
    const cwd = testFolder(t);
    writeFileSync(join(cwd, 'disk.ts'), DISK);
    await using serving = startBelfry(['serve', 'blk', ...args, '--socket', 'sock'], { cwd });
    await serving.says(/Serving/);
    using guest = new RawGuest();
    using front = RawFrontEnd.connect(join(cwd, 'sock'));
    const rings = [0, 1, 2, 3].map((index) => guest.ring(index, FEATURES));
    await negotiate(front);
    await front.settle(setMemTable([guest.region]), ...rings.flatMap((ring) => ring.start()));
    const startedMs = performance.now();
    let count = 0;
    await load(rings, blockRequest.read(8, 1024), () => {
      const most = RATE * (BURST + (performance.now() - startedMs) / 1000);
      assert.ok(++count <= most, `${count} requests, and at most ${most} are allowed`);
    });
    assert.equal(count, REQUESTS);
    serving.kill('SIGTERM');
    const { code, stderr } = await serving.ended;
    assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
  });
}
