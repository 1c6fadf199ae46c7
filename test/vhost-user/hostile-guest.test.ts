// test/vhost-user: however much work a guest makes, messages of its front end and SIGTERM are answered: its disk alone suffers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import * as blk from '../../src/devices/blk/spec.ts';
import { STATUS_UNWRITTEN } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import {
  DESCRIPTOR_BYTES,
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../src/virtio/spec.ts';
import { type Running, startBelfry, testFolder } from '../cli/belfry-process.ts';
import { FEATURES, negotiate } from './back-end.ts';
import { startEndless } from './endless-reads.ts';

const INDIRECT = FEATURES | VIRTIO_F_INDIRECT_DESC;
const MIB = 2 ** 20;
const PIECE_BYTES = 4 * MIB;

/** A guest and the daemon that serves it. */
interface World {
  readonly process: Running;
  readonly guest: RawGuest;
  readonly front: RawFrontEnd;
  readonly held: AsyncDisposableStack;
}

interface Row {
  readonly store: string;
  readonly ringSize: number;
  /** Its log lines; none by default. */
  readonly lines?: RegExp;
  /** Makes the work. */
  begin(world: World, ring: RawRing): void | Promise<void>;
  /** Checks what became of it, after messages were answered. */
  check?(world: World, ring: RawRing): void | Promise<void>;
}

async function open(
  t: TestContext,
  held: AsyncDisposableStack,
  store: string,
  ...flags: readonly string[]
): Promise<World> {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'never.ts'), NEVER);
  execFileSync('truncate', ['-s', '4G', join(folder, 'sparse.img')]);
  const process = startBelfry(['serve', 'blk', store, '--socket', 'sock', ...flags], { cwd: folder });
  held.use(process);
  await process.says(/Serving/);
  const guest = held.use(new RawGuest({ sizeBytes: 32 * MIB }));
  const front = held.use(RawFrontEnd.connect(join(folder, 'sock')));
  return { process, guest, front, held };
}

const NEVER = `export default { sizeBytes: 2 ** 30, read: () => new Promise(() => {}) };`;

/** Addresses of an indirect table, and of the status byte of its request. */
interface Table {
  readonly address: number;
  readonly bytes: number;
  readonly status: Uint8Array;
}

/** A read in an indirect table: a header, the same piece of memory again and again, a status byte. */
function readTable({ memory }: RawGuest, pieces: number, pieceBytes: number): Table {
  const [header, data, status] = [memory.allocate(16), memory.allocate(pieceBytes), memory.allocate(1)];
  memory.slice(header, 16).fill(0);
  const bytes = (pieces + 2) * DESCRIPTOR_BYTES;
  const address = memory.allocate(bytes);
  const { buffer, byteOffset } = memory.slice(address, bytes);
  const view = new DataView(buffer, byteOffset, bytes);
  const put = (index: number, at: number, length: number, flags: number): void => {
    view.setBigUint64(index * DESCRIPTOR_BYTES, BigInt(at), true);
    view.setUint32(index * DESCRIPTOR_BYTES + 8, length, true);
    view.setUint16(index * DESCRIPTOR_BYTES + 12, flags, true);
    view.setUint16(index * DESCRIPTOR_BYTES + 14, index + 1, true);
  };
  put(0, header, 16, VIRTQ_DESC_F_NEXT);
  for (let i = 1; i <= pieces; i++) put(i, data, pieceBytes, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
  put(pieces + 1, status, 1, VIRTQ_DESC_F_WRITE);
  return { address, bytes, status: memory.slice(status, 1).fill(STATUS_UNWRITTEN) };
}

/** Every descriptor of the ring is a request, and all name one table. */
function submitTables(ring: RawRing, { address, bytes }: Table): void {
  const { queue } = ring.driver;
  for (let head = 0; head < ring.size; head++) {
    queue.writeDescriptor(head, address, bytes, VIRTQ_DESC_F_INDIRECT, 0);
    queue.available[2 + head] = head;
  }
  Atomics.store(queue.available, 1, ring.size);
  ring.kick.signal();
}

/** How many requests the device has given back, modulo 2^16. */
const used = ({ driver }: RawRing): number => Atomics.load(driver.queue.used, 1);

/** Reads that are refused: 256, each of many pieces of 4 MiB. */
function refusedReads(store: string, pieces: number): Row {
  let table: Table;
  return {
    store,
    ringSize: 256,
    begin({ guest }, ring) {
      table = readTable(guest, pieces, PIECE_BYTES);
      submitTables(ring, table);
    },
    async check(_, ring) {
      await eventually('every request', () => used(ring) === ring.size);
      assert.deepEqual([...table.status], [blk.VIRTIO_BLK_S_IOERR]);
    },
  };
}

/** Reads that are served, and made again at once, without end. A turn of the device is at most `turn` of them. */
function endlessReads(store: string, pieces: number, pieceBytes: number, turn: number): Row {
  return {
    store,
    ringSize: 256,
    async begin({ guest, held }, ring) {
      const table = readTable(guest, pieces, pieceBytes);
      // First: the thread makes a whole ring of heads available, and they have to be there.
      submitTables(ring, table);
      held.use(await startEndless(guest, ring));
    },
    async check({ front }, ring) {
      await eventually('the first request', () => used(ring) > 0);
      const served: number[] = [];
      for (let i = 0; i < MESSAGES; i++) {
        const before = used(ring);
        await front.settle();
        served.push((used(ring) - before) & 0xffff);
      }
      const median = served.sort((a, b) => a - b)[MESSAGES >> 1] as number;
      assert.ok(median <= 2 * turn, `${served} requests were served before a message was answered`);
    },
  };
}

const MESSAGES = 15;

const rows: { readonly [what: string]: Row } = {
  'its queue is full of WRITE_ZEROES, 32 times the whole disk in each': {
    store: 'mem:256M',
    ringSize: 256,
    begin(_, ring) {
      const all = { sector: 0, sectors: (256 * MIB) / 512 };
      const request = blockRequest.writeZeroes(...Array.from({ length: 32 }, () => all));
      ring.submit(...Array.from({ length: 80 }, () => request));
    },
    async check(_, ring) {
      for (const { status } of await ring.results()) assert.equal(status, blk.VIRTIO_BLK_S_UNSUPP);
    },
  },
  'its queue is full of WRITE_ZEROES of the whole disk': {
    store: 'mem:256M',
    ringSize: 256,
    begin(_, ring) {
      const request = blockRequest.writeZeroes({ sector: 0, sectors: (256 * MIB) / 512 });
      ring.submit(...Array.from({ length: 80 }, () => request));
    },
    async check(_, ring) {
      for (const { status } of await ring.results()) assert.equal(status, blk.VIRTIO_BLK_S_IOERR);
    },
  },
  'its queue is full of reads of 3.9 GiB': refusedReads('mem:4G', 990),
  'its queue is full of reads of 1 GiB, of a file': refusedReads('sparse.img', 256),
  'it reads as much as is allowed, without end': endlessReads('mem:4G', 32, PIECE_BYTES, 4),
  'it reads as much as is allowed, without end, of a file': endlessReads('sparse.img', 32, PIECE_BYTES, 4),
  'it reads 64 KiB, without end': endlessReads('mem:64M', 1, 64 * 1024, 256),
  'it has a chain of 32,738 descriptors': {
    store: 'mem:64M',
    lines: /^belfry: queue 0 stopped until the driver resets it: [^\n]*longer than 1024[^\n]*\n$/,
    ringSize: 32768,
    begin({ guest }, ring) {
      const { queue } = ring.driver;
      const at = guest.memory.allocate(16);
      for (let i = 0; i < 32_738; i++)
        queue.writeDescriptor(i, at, 16, VIRTQ_DESC_F_NEXT | (i > 0 ? VIRTQ_DESC_F_WRITE : 0), i + 1);
      Atomics.store(queue.available, 1, 1);
      ring.kick.signal();
    },
  },
};

for (const [what, row] of Object.entries(rows))
  test(`regression: messages and SIGTERM are answered while ${what}`, async (t) => {
    await using held = new AsyncDisposableStack();
    const world = await open(t, held, row.store);
    const ring = world.guest.ring(0, INDIRECT, row.ringSize);
    await negotiate(world.front, INDIRECT);
    await world.front.settle(setMemTable([world.guest.region]), ...ring.start());
    await row.begin(world, ring);
    for (let i = 0; i < 5; i++) await world.front.settle();
    await row.check?.(world, ring);
    world.process.kill('SIGTERM');
    const { code, signal, stderr } = await world.process.ended;
    assert.deepEqual([code, signal, stderr.match(row.lines ?? /^$/)?.length], [0, null, 1], stderr);
  });

/** Resident bytes of a process. */
function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
}

/** What is in flight over all queues, by the report that is the `nth` this process is asked for. */
async function inFlight(process: Running, nth: number): Promise<number> {
  process.kill('SIGUSR2');
  const [said] = await process.complains(new RegExp(`(?:[^]*?queue 7: .*\\n){${nth}}`));
  return [...said.matchAll(/(\d+) in flight/g)].slice(-8).reduce((sum, [, count]) => sum + Number(count), 0);
}

test('regression: what a guest has in flight on a slow disk is bounded, and so is what it costs', async (t) => {
  const [MOST_BYTES, IN_FLIGHT_MAX] = [128 * MIB, 1024];
  await using held = new AsyncDisposableStack();
  const { process, guest, front } = await open(t, held, './never.ts', '--stop-timeout', '1');
  const before = residentBytes(process.pid);
  await negotiate(front, INDIRECT);
  await front.settle(setMemTable([guest.region]));
  // Each request in pieces of 16 bytes, as many as a chain may have, over eight queues.
  const table = readTable(guest, 992, 16);
  for (let index = 0; index < 8; index++) {
    const ring = guest.ring(index, INDIRECT, 4096);
    await front.settle(...ring.start());
    submitTables(ring, table);
  }
  let reports = 0;
  await eventually('it takes no more', async () => (await inFlight(process, ++reports)) === IN_FLIGHT_MAX);
  const grown = residentBytes(process.pid) - before;
  t.diagnostic(`${(grown / MIB).toFixed(0)} MiB more`);
  assert.ok(grown < MOST_BYTES, `${grown} bytes more`);
  process.kill('SIGTERM');
  assert.equal((await process.ended).code, 1);
});
