// test/examples: the disks and the filter pass the conformance suite of stores.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { shareRunningCopy } from '../../src/daemon/running-copy.ts';
import { memory } from '../../src/stores/memory.ts';
import { storeConformance } from '../../src/testing/store-conformance.ts';

// As the command line does before it loads a disk.
shareRunningCopy();
const { default: scrambledDisk, scrambled } = await import('../../examples/filter.ts');
const { default: httpRangeDisk } = await import('../../examples/http-range-disk.ts');
const { default: ramDisk } = await import('../../examples/ram-disk.ts');

const SIZE = 256 * 1024;

storeConformance('examples/ram-disk.ts', { open: () => ramDisk(SIZE), members: ['write'] });
storeConformance('examples/filter.ts', {
  open: () => scrambled(0x5a)(memory(SIZE)),
  members: ['write', 'discard', 'refreshSize', 'close'],
});

test('examples/filter.ts stores what it is given scrambled, and serves memory unless told otherwise', async () => {
  const below = memory(SIZE);
  const bytes = new Uint8Array(512).fill(1);
  await scrambled(3)(below).write?.(4096, bytes);
  const stored = new Uint8Array(512);
  await below.read(4096, stored);
  assert.notDeepEqual(stored, bytes);
  await below.close?.();
  const disk = scrambledDisk();
  assert.deepEqual([disk.name, disk.sizeBytes], ['mem:64M', 64 * 1024 * 1024]);
  await disk.close?.();
});

const image = new Uint8Array(SIZE).map((_, i) => i ^ (i >> 8));
let isBroken = false;
const web = createServer((request, response) => {
  if (request.url !== '/disk.img' || isBroken) return void response.writeHead(404).end();
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
  if (from === undefined) return void response.writeHead(200, { 'content-length': image.length }).end();
  response.writeHead(206).end(image.subarray(Number(from), Number(to) + 1));
});
await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
after(() => {
  web.closeAllConnections();
  web.close();
});

storeConformance('examples/http-range-disk.ts', {
  open: () => httpRangeDisk(`${origin}/disk.img`),
  members: [],
  content: image,
});

test('examples/http-range-disk.ts refuses a file that is no disk, and fails a request that the server fails', async () => {
  await assert.rejects(httpRangeDisk(`${origin}/other.img`), /is no disk image: status 404, 0 bytes/);
  await assert.rejects(httpRangeDisk(undefined), /set DISK_URL/);
  const disk = await httpRangeDisk(`${origin}/disk.img`);
  isBroken = true;
  await assert.rejects(async () => disk.read(0, new Uint8Array(512)), /gave status 404 for bytes=0-511/);
  isBroken = false;
  const into = new Uint8Array(512);
  await disk.read(512, into);
  assert.deepEqual(into, image.slice(512, 1024));
});
