// test/vhost-user: guest memory in as many regions as there can be, which come and go one by one while a ring runs.
import assert from 'node:assert/strict';
import { readFileSync, readSync } from 'node:fs';
import { test } from 'node:test';
import { closeFd } from '../../src/sys/libc.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { blockRequest, encodeReadable } from '../../src/testing/block-request.ts';
import { addMemReg, eventually, type RawRegion, remMemReg } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { MEM_SLOTS_MAX } from '../../src/transports/vhost-user/protocol/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { attach, DISK_BYTES, serveDisk } from './back-end.ts';

const REGION_BYTES = 64 * 1024;
/** As QEMU's virtio-mem has them: blocks of one large file, with room between them. */
const STRIDE_BYTES = 2 ** 20;
const FIRST_ADDRESS = 2 ** 32;
const MANY = MEM_SLOTS_MAX - 1;
const NAME = 'many-regions';

const regionAt = (fd: number, i: number): RawRegion => ({
  guestAddress: FIRST_ADDRESS + i * STRIDE_BYTES,
  userAddress: 2 ** 40 + i * STRIDE_BYTES,
  mmapOffset: i * STRIDE_BYTES,
  sizeBytes: REGION_BYTES,
  fd,
});

/** Where this process has the file mapped, in order, and how many bytes in all. */
function mappings(): { readonly places: string[]; readonly bytes: number } {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  // Neighbours that fit together are one line.
  const places = lines.filter((line) => line.includes(NAME)).map((line) => line.split(' ')[0] as string);
  const sizes = places.map((place) => place.split('-').map((end) => Number.parseInt(end, 16)));
  return { places, bytes: sizes.reduce((sum, [from = 0, to = 0]) => sum + to - from, 0) };
}

/** Reads sector 0 into memory outside of the ring's own region; returns its status. */
async function readInto(guest: RawGuest, ring: RawRing, address: number): Promise<number> {
  const header = guest.memory.allocate(16);
  guest.memory.slice(header, 16).set(encodeReadable(blockRequest.read(0, 512)));
  const status = guest.memory.allocate(1);
  const { queue } = ring.driver;
  queue.add([
    { address: header, length: 16, writable: false },
    { address, length: 512, writable: true },
    { address: status, length: 1, writable: true },
  ]);
  queue.publish();
  ring.kick.signal();
  await eventually('the read', () => queue.hasUsed());
  queue.harvest(() => {});
  return guest.memory.slice(status, 1)[0] as number;
}

/** A disk whose first read waits for `release`. */
function diskWithSlowRead() {
  const inner = arrayStore(pattern(DISK_BYTES));
  const { promise, resolve } = Promise.withResolvers<void>();
  let reads = 0;
  const read = (offset: number, into: Uint8Array) =>
    reads++ === 0 ? promise.then(() => inner.read(offset, into)) : inner.read(offset, into);
  return { store: { ...inner, read }, release: resolve, hasBegun: () => reads > 0, bytes: inner.bytes };
}

test(`regression: ${MEM_SLOTS_MAX} regions come and go, each mapped by itself, and none disturbs another or a request`, async (t) => {
  const disk = diskWithSlowRead();
  await using backEnd = serveDisk(disk.store);
  // Or a failure here would wait for it.
  using _released = { [Symbol.dispose]: () => disk.release() };
  using guest = new RawGuest();
  const fd = createMemfd(NAME, MANY * STRIDE_BYTES);
  t.after(() => closeFd(fd));
  using attached = await attach(backEnd, guest);
  const { front, ring } = attached;
  ring.submit(blockRequest.read(0, 512));
  await eventually('the slow read', disk.hasBegun);

  // In no order.
  for (let i = 0; i < MANY; i++)
    assert.equal(await front.acknowledged(addMemReg(regionAt(fd, (i * 7) % MANY))), 0n, 'the read is not waited for');
  assert.equal(ring.driver.queue.hasUsed(), false);
  const all = mappings();
  assert.equal(all.bytes, MANY * REGION_BYTES);
  disk.release();
  await ring.results();
  const assertServesInto = async (i: number): Promise<void> => {
    const end = REGION_BYTES - 512;
    assert.equal(await readInto(guest, ring, FIRST_ADDRESS + i * STRIDE_BYTES + end), 0);
    const bytes = new Uint8Array(512);
    readSync(fd, bytes, 0, 512, i * STRIDE_BYTES + end);
    assert.deepEqual(bytes, disk.bytes.subarray(0, 512), `region ${i}`);
  };
  for (let i = 0; i < MANY; i += 13) await assertServesInto(i);

  for (let i = 1; i < MANY; i += 2) assert.equal(await front.acknowledged(remMemReg(regionAt(fd, i))), 0n);
  const half = mappings();
  assert.equal(half.bytes, (MANY / 2) * REGION_BYTES);
  assert.deepEqual(
    half.places.filter((place) => !all.places.includes(place)),
    [],
    'those that stay are where they were',
  );
  for (let i = 0; i < MANY; i += 26) await assertServesInto(i);

  for (let i = 1; i < MANY; i += 2) assert.equal(await front.acknowledged(addMemReg(regionAt(fd, i))), 0n);
  await assertServesInto(MANY - 1);
  // On a slow machine the read is named that waits for this test.
  assert.deepEqual(
    backEnd.lines.filter((line) => !line.startsWith('the store: ')),
    [],
  );
  const oneMore = { ...regionAt(fd, 0), guestAddress: 2 ** 40 };
  assert.notEqual(await front.acknowledged(addMemReg(oneMore)), 0n);
  await front.closedByPeer();
  assert.match(backEnd.lines.join('\n'), /^session ended: ADD_MEM_REG: more than 509 regions$/);
  assert.equal(mappings().bytes, 0);
});
