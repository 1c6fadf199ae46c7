// test/spec: where completed writes are, and what a flush and writethrough add: each cell of the table in src/stores/README.md.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { CONFIG, VIRTIO_BLK_F_CONFIG_WCE } from '../../src/devices/blk/spec.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { uringProblem } from '../../src/stores/ring-file.ts';
import { ImageFile } from '../../src/sys/file.ts';
import { IoUring } from '../../src/sys/io-uring.ts';
import { ThreadRing } from '../../src/sys/thread-ring.ts';
import { type BlockRequest, blockRequest, encodeReadable } from '../../src/testing/block-request.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';

const SIZE = 64 * 1024;
const DATA = new Uint8Array(512).fill(7);
const WRITE = blockRequest.write(1, DATA);
const TMPFS = 0x01021994;

/** A store of one row of the table. */
interface Opened {
  readonly store: BlockStore;
  /** Checks that DATA is where the table says. */
  readonly check: () => void;
  /** Calls of a store that is no image. */
  readonly calls?: string[];
}

interface Row {
  readonly skip?: string | undefined;
  open(t: TestContext): Opened;
  /** The cells of the table. */
  readonly writeback: string;
  readonly flush: string;
  readonly writethrough: string;
  /** What the store is asked for a write, and for a flush. */
  readonly asked: { readonly write: readonly string[]; readonly flush: readonly string[] };
}

function imageIn(parent: string, engine: 'mapped' | 'uring' | 'sync') {
  return (t: TestContext): Opened => {
    const folder = mkdtempSync(join(parent, 'belfry-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'disk.img');
    writeFileSync(path, '');
    truncateSync(path, SIZE);
    const { store } = openStore(path, { engine });
    // read(2) of any process sees what is in the page cache.
    return { store, check: () => assert.deepEqual(new Uint8Array(readFileSync(path).subarray(512, 1024)), DATA) };
  };
}

function ramDisk(): Opened {
  const { store, description } = openStore('mem:64K');
  return {
    store,
    check: () => {
      assert.match(readlinkSync(`/proc/self/fd/${description.fd}`), /^\/memfd:.* \(deleted\)$/);
      const into = new Uint8Array(512);
      store.read(512, into);
      assert.deepEqual(into, DATA);
    },
  };
}

/** As a module's default export. */
function moduleDisk(hasFlush: boolean) {
  return (): Opened => {
    const bytes = new Uint8Array(SIZE);
    const calls: string[] = [];
    const store: BlockStore = {
      sizeBytes: SIZE,
      read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
      async write(offset, from) {
        calls.push('write');
        bytes.set(from, offset);
      },
      ...(hasFlush && { flush: async () => void calls.push('flush') }),
    };
    return { store, calls, check: () => assert.deepEqual(bytes.subarray(512, 1024), DATA) };
  };
}

const uncached = { flush: 'has nothing to do', writethrough: 'not offered: the same' };
const cached = {
  writeback: 'the page cache: it outlives `serve`, and the machine after a flush',
  flush: '`fdatasync`, for every write that completed before it',
  writethrough: '`fdatasync` before each write completes',
  asked: { write: ['write'], flush: ['fdatasync'] },
};
const nothing = { write: [], flush: [] };
const noTmpfs = statfsSync('/dev/shm').type === TMPFS ? undefined : '/dev/shm is not a tmpfs';

const rows: Readonly<Record<string, Row>> = {
  '`mapped`, an image': {
    skip: noTmpfs,
    open: imageIn('/dev/shm', 'mapped'),
    writeback: 'the file, in memory: it outlives `serve`, and not the machine',
    ...uncached,
    asked: nothing,
  },
  '`mapped`, `mem:SIZE`': {
    open: ramDisk,
    writeback: 'memory of this process: it does not outlive `serve`',
    ...uncached,
    asked: nothing,
  },
  '`uring`': { skip: uringProblem(), open: imageIn(tmpdir(), 'uring'), ...cached },
  '`sync`': { open: imageIn(tmpdir(), 'sync'), ...cached },
  'a module with `flush`': {
    open: moduleDisk(true),
    writeback: 'where its `write` put it',
    flush: 'its `flush`, for every write that completed before it',
    writethrough: 'its `flush` before each write completes',
    asked: { write: ['write'], flush: ['flush'] },
  },
  'a module without `flush`': {
    open: moduleDisk(false),
    writeback: 'where its `write` put it, and that is final',
    ...uncached,
    asked: { write: ['write'], flush: [] },
  },
};

/** Records the system calls of images until the test ends. */
function recordCalls(t: TestContext): string[] {
  const calls: string[] = [];
  const spied: readonly [prototype: object, method: string, name: string][] = [
    [ImageFile.prototype, 'writeFrom', 'write'],
    [ImageFile.prototype, 'writev', 'write'],
    [ImageFile.prototype, 'sync', 'fdatasync'],
    [IoUring.prototype, 'write', 'write'],
    [IoUring.prototype, 'writev', 'write'],
    [IoUring.prototype, 'fdatasync', 'fdatasync'],
    [ThreadRing.prototype, 'write', 'write'],
    [ThreadRing.prototype, 'writev', 'write'],
    [ThreadRing.prototype, 'fdatasync', 'fdatasync'],
  ];
  for (const [prototype, method, name] of spied) {
    const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown;
    t.mock.method(prototype as Record<string, () => unknown>, method, function (this: unknown, ...args: unknown[]) {
      calls.push(name);
      return original.apply(this, args);
    });
  }
  return calls;
}

/** Runs `use` with a driver of the row's store. `ask` returns what the store was asked until the request completed. */
async function withDisk(
  t: TestContext,
  row: Row,
  use: (disk: DeviceLoopback, ask: (request: BlockRequest) => Promise<string[]>, check: () => void) => Promise<void>,
): Promise<void> {
  const { store, check, calls = recordCalls(t) } = row.open(t);
  {
    await using disk = await DeviceLoopback.start(new BlockDevice(store, { queues: 1 }));
    const ask = async (request: BlockRequest): Promise<string[]> => {
      const chain = { readable: [encodeReadable(request)], writable: [request.inBytes + 1] };
      const used = await disk.queues[0]?.request(chain);
      assert.equal(used?.bytes.at(-1), 0);
      return calls.splice(0);
    };
    await use(disk, ask, check);
  }
  await store.close?.();
}

for (const [name, row] of Object.entries(rows)) {
  suite(name, { skip: row.skip ?? false }, () => {
    test(`a completed write is in ${row.writeback}`, (t) =>
      withDisk(t, row, async (_, ask, check) => {
        assert.deepEqual(await ask(WRITE), row.asked.write);
        check();
      }));

    test(`a flush: ${row.flush}`, (t) =>
      withDisk(t, row, async (_, ask) => {
        await ask(WRITE);
        assert.deepEqual(await ask(blockRequest.flush()), row.asked.flush);
      }));

    test(`writethrough: ${row.writethrough}`, (t) =>
      withDisk(t, row, async (disk, ask, check) => {
        const isOffered = row.asked.flush.length > 0;
        assert.equal((disk.device.features & VIRTIO_BLK_F_CONFIG_WCE) !== 0n, isOffered);
        assert.equal(disk.config().getUint8(CONFIG.writeback), isOffered ? 1 : 0);
        assert.equal(await disk.writeConfig(CONFIG.writeback, Uint8Array.of(0)), isOffered);
        assert.deepEqual(await ask(WRITE), [...row.asked.write, ...row.asked.flush]);
        check();
        // Back to writeback mode.
        assert.equal(await disk.writeConfig(CONFIG.writeback, Uint8Array.of(1)), isOffered);
        assert.deepEqual(await ask(WRITE), row.asked.write);
      }));
  });
}

test('src/stores/README.md has these cells, and no others', () => {
  const page = readFileSync(join(import.meta.dirname, '../../src/stores/README.md'), 'utf8');
  const [, section = ''] = /^## Write order and caches\n((?:(?!## ).*\n)*)/m.exec(page) ?? [];
  const table = section.split('\n').filter((line) => line.startsWith('| '));
  const cells = Object.entries(rows).map(
    ([name, row]) => `| ${name} | ${row.writeback} | ${row.flush} | ${row.writethrough} |`,
  );
  assert.deepEqual(table.slice(2), cells);
});

test('in writethrough mode a write is not completed while its flush goes on', async () => {
  const flushes: (() => void)[] = [];
  const flush = (): Promise<void> => new Promise((resolve) => void flushes.push(resolve));
  const device = new BlockDevice({ sizeBytes: SIZE, read() {}, write() {}, flush }, { queues: 1 });
  await using disk = await DeviceLoopback.start(device);
  await disk.writeConfig(CONFIG.writeback, Uint8Array.of(0));
  const [queue] = disk.queues as [DeviceLoopback['queues'][0]];
  queue.add({ readable: [encodeReadable(WRITE)], writable: [1] });
  // A read behind it completes.
  const read = blockRequest.read(0, 512);
  await queue.request({ readable: [encodeReadable(read)], writable: [513] });
  assert.deepEqual([queue.harvest().length, flushes.length], [0, 1]);
  flushes[0]?.();
  assert.equal((await queue.used())[0]?.bytes.at(-1), 0);
});
