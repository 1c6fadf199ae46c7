// A file through io_uring, and on threads: the conformance suite with and without an event loop, and what only this engine does.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { O_CLOEXEC } from '../sys/constants.ts';
import { EventFd } from '../sys/event-fd.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { ImageFile } from '../sys/file.ts';
import { libc } from '../sys/libc.ts';
import { storeConformance } from '../testing/store-conformance.ts';
import { storeOnLoop } from '../testing/store-on-loop.ts';
import { threadsFile, uringFile, uringProblem } from './ring-file.ts';

const ALL = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;
const SIZE = 1024 * 1024 + 3 * 512;

async function requestsOverlap(store: BlockStore): Promise<void> {
  const pieces = Array.from({ length: 1000 }, (_, i) => new Uint8Array(512).fill(i));
  await Promise.all(pieces.map((piece, i) => store.write?.(512 * i, piece)));
  const back = pieces.map(() => new Uint8Array(512));
  await Promise.all(back.map((into, i) => store.read(512 * i, into)));
  assert.deepEqual(back, pieces);
  await store.close?.();
}

describe('uring-file', { skip: uringProblem() ?? false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  const content = new Uint8Array(SIZE).map((_, i) => i ^ (i >> 9));

  function image(at = path, sizeBytes = SIZE): ImageFile {
    writeFileSync(at, '');
    truncateSync(at, sizeBytes);
    return ImageFile.open(at);
  }

  // tmpfs has no FALLOC_FL_ZERO_RANGE, so the store writes zeroes there.
  for (const parent of new Set([tmpdir(), '/dev/shm'])) {
    if (!existsSync(parent)) continue;
    const there = mkdtempSync(join(parent, 'belfry-'));
    after(() => rmSync(there, { recursive: true }));
    const open = (): BlockStore => uringFile(image(join(there, 'disk.img')));
    storeConformance(`io_uring in ${parent}`, { open: () => storeOnLoop(open()), members: ALL });
    storeConformance(`io_uring in ${parent}, without a loop`, { open, members: ALL });
  }

  storeConformance('io_uring, read-only', {
    open: () => {
      writeFileSync(path, content);
      return storeOnLoop(uringFile(ImageFile.open(path, { readOnly: true })));
    },
    members: ['readv', 'refreshSize', 'close'],
    content,
  });

  test('requests overlap: more than the ring has entries, each answered once', async () =>
    requestsOverlap(storeOnLoop(uringFile(image()))));

  test('regression: a thread that never returns to Node’s loop lets its promises settle before it sleeps', async () => {
    const loop = new EventLoop();
    const store = uringFile(image());
    store.attach?.(loop);
    const from = new Uint8Array(4096).fill(5);
    const into = new Uint8Array(4096);
    const work = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) {
        await store.write?.(4096 * i, from);
        await store.flush?.();
        await store.read(4096 * i, into);
      }
      loop.stop();
    };
    const done = work();
    await loop.run();
    await done;
    assert.deepEqual(into, from);
    await store.close?.();
    loop[Symbol.dispose]();
  });

  test('a file that became shorter fails the requests beyond its end, and no other', async () => {
    const store = storeOnLoop(uringFile(image()));
    truncateSync(path, SIZE / 2 - ((SIZE / 2) % 512));
    const into = new Uint8Array(4096);
    const beyond = Promise.resolve(store.read(SIZE - 4096, into));
    const inside = store.read(0, into);
    await assert.rejects(beyond, /EIO: the file became shorter/);
    await inside;
    // A request over the end gets what there is, and then fails.
    await assert.rejects(Promise.resolve(store.read(0, new Uint8Array(SIZE))), /became shorter/);
    await store.close?.();
  });

  test('when its queue has to stop, what waits in the kernel is cancelled', async () => {
    // A read of an eventfd that is not signalled waits for ever.
    const fd = libc.eventfd(0, O_CLOEXEC);
    const abort = new AbortController();
    const store = storeOnLoop(uringFile(ImageFile.adopt(fd, 'an eventfd')));
    const waiting = [1, 2, 3].map(() => Promise.resolve(store.read(0, new Uint8Array(8), abort.signal)));
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort();
    for (const read of waiting) await assert.rejects(read, /ECANCELED/);
    await store.close?.();
  });

  test('after a flush that failed, every flush fails without another fdatasync(2)', async () => {
    // fdatasync(2) of an eventfd fails with EINVAL.
    using event = EventFd.create();
    const store = storeOnLoop(uringFile(ImageFile.duplicate(event.fd, 'an eventfd', false)));
    await assert.rejects(Promise.resolve(store.flush?.()), /fdatasync: EINVAL/);
    assert.throws(() => store.flush?.(), /fdatasync: EINVAL/);
    await store.close?.();
  });

  test('close waits for the kernel: no byte is written into a buffer afterwards', async () => {
    const store = storeOnLoop(uringFile(image()));
    const buffers = Array.from({ length: 64 }, () => new Uint8Array(4096).fill(1));
    const reads = buffers.map((into, i) => store.read(4096 * i, into));
    await store.close?.();
    for (const into of buffers) into.fill(2);
    await Promise.allSettled(reads);
    assert.ok(buffers.every((into) => into.every((byte) => byte === 2)));
  });
});

describe('threads-file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');

  function open(): BlockStore {
    writeFileSync(path, '');
    truncateSync(path, SIZE);
    return storeOnLoop(threadsFile(ImageFile.open(path)));
  }

  storeConformance('threads', { open, members: ALL });

  test('requests overlap: more than the ring has entries, each answered once', async () => requestsOverlap(open()));

  test('a read of what is cached is synchronous; a write, and a read in more pieces than one call takes, are not', async () => {
    const store = open();
    const from = new Uint8Array(4096).fill(3);
    const written = store.write?.(0, from);
    assert.notEqual(written, undefined);
    await written;
    const into = new Uint8Array(4096);
    assert.equal(store.read(0, into), undefined);
    assert.deepEqual(into, from);
    const pieces = Array.from({ length: 4096 }, (_, i) => into.fill(0).subarray(i, i + 1));
    await store.readv?.(0, pieces);
    assert.deepEqual(into, from);
    await store.close?.();
  });

  test('an error of a system call fails its request, and names the call', async () => {
    using event = EventFd.create();
    const store = storeOnLoop(threadsFile(ImageFile.duplicate(event.fd, 'an eventfd', false)));
    await assert.rejects(Promise.resolve(store.flush?.()), /fdatasync: EINVAL/);
    await assert.rejects(Promise.resolve(store.write?.(0, new Uint8Array(512))), /pwrite: ESPIPE/);
    await store.close?.();
  });
});
