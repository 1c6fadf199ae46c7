// openStore: which engine serves what, and one store on several threads.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startThread } from '../sys/thread.ts';
import { CopyGuard } from './copy-guard.ts';
import { openStore, reopenStore, type StoreDescription } from './open-store.ts';
import { uringProblem } from './ring-file.ts';

const SIZE = 1024 * 1024;
const CHUNK = 32 * 1024;
const TMPFS = 0x01021994;

function image(parent: string): string {
  const folder = mkdtempSync(join(parent, 'belfry-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, SIZE);
  return path;
}

function isTmpfs(folder: string): boolean {
  return existsSync(folder) && statfsSync(folder).type === TMPFS;
}

test('memory and files in memory are mapped, other files are not, and both have the name they were opened by', () => {
  const specs = ['mem:1M', image(tmpdir()), ...(isTmpfs('/dev/shm') ? [image('/dev/shm')] : [])];
  for (const spec of specs) {
    const { store, description } = openStore(spec);
    const inMemory = spec.startsWith('mem:') || isTmpfs(join(spec, '..'));
    assert.equal(description.engine, inMemory ? 'mapped' : uringProblem() === undefined ? 'uring' : 'sync');
    // A disk in memory has nothing to flush.
    assert.equal(store.flush === undefined, inMemory);
    assert.deepEqual([store.name, store.sizeBytes], [spec, SIZE]);
    store.close?.();
  }
});

test('an engine that is asked for serves the image, or says why it cannot', () => {
  const path = image(tmpdir());
  assert.throws(() => openStore(path, { engine: 'mapped' }), /engine mapped: the image is not in memory/);
  for (const engine of ['sync', ...(uringProblem() === undefined ? (['uring'] as const) : [])] as const) {
    for (const spec of [path, 'mem:1M']) {
      const { store, description, why } = openStore(spec, { engine });
      assert.deepEqual([description.engine, why], [engine, 'as asked']);
      store.close?.();
    }
  }
});

test('what is opened read-only cannot be written, on any thread', () => {
  for (const spec of ['mem:1M', image(tmpdir())]) {
    const { store, description } = openStore(spec, { readOnly: true });
    const again = reopenStore(description);
    for (const each of [store, again])
      assert.deepEqual([each.write, each.discard, each.flush], [undefined, undefined, undefined]);
    store.close?.();
    again.close?.();
  }
});

test('an invalid size and a missing file have different errors', () => {
  assert.throws(() => openStore('mem:lots'), { name: 'RangeError', message: /"lots" is not a size/ });
  assert.throws(() => openStore('/nowhere/disk.img'), { name: 'SystemError', code: 'ENOENT' });
});

test('a store opened again sees the same bytes and outlives the first', () => {
  for (const spec of ['mem:1M', image(tmpdir())]) {
    const { store, description } = openStore(spec);
    const again = reopenStore(description);
    const bytes = new Uint8Array(4096).fill(3);
    store.write?.(8192, bytes);
    store.close?.();
    const into = new Uint8Array(4096);
    again.read(8192, into);
    assert.deepEqual(into, bytes);
    again.close?.();
  }
});

test('regression: a store can be opened again after its image grew', () => {
  const path = image(isTmpfs('/dev/shm') ? '/dev/shm' : tmpdir());
  const { store, description } = openStore(path);
  truncateSync(path, 2 * SIZE);
  const again = reopenStore(description);
  assert.equal(again.sizeBytes, 2 * SIZE);
  again.write?.(2 * SIZE - 512, new Uint8Array(512).fill(1));
  again.close?.();
  store.close?.();
});

test('regression: what a thread allocates before it knows of a new size is not taken for a whole chunk', (context) => {
  if (!isTmpfs('/dev/shm')) return context.skip('/dev/shm is not a tmpfs');
  const path = image('/dev/shm');
  truncateSync(path, CHUNK + 512);
  const { store, description } = openStore(path);
  const late = reopenStore(description);
  const chunks = new Uint8Array(description.shared!.chunks);
  const bytes = new Uint8Array(512).fill(1);
  truncateSync(path, 2 * CHUNK);
  store.refreshSize?.();
  late.write?.(CHUNK, bytes);
  assert.equal(chunks[1], 0);
  store.write?.(2 * CHUNK - 512, bytes);
  assert.equal(chunks[1], 1);
  late.close?.();
  store.close?.();
});

test('a flush that failed in one store fails in those that were opened from its description', () => {
  const { store, description } = openStore(image('/tmp'), { engine: 'sync' });
  const again = reopenStore(description);
  again.flush?.();
  description.flushState?.fill(1);
  for (const either of [store, again]) assert.throws(() => either.flush?.(), /failed on another thread/);
  again.close?.();
  store.close?.();
});

test('only a store of which there may be several pays for that', () => {
  const opened = openStore('mem:1M');
  const guarded = new Set<unknown>();
  const { begin } = CopyGuard.prototype;
  CopyGuard.prototype.begin = function () {
    guarded.add(this);
    begin.call(this);
  };
  const bytes = new Uint8Array(512);
  opened.store.read(0, bytes);
  assert.equal(guarded.size, 0);
  const again = reopenStore(opened.description);
  const alone = reopenStore({ ...opened.description, shared: undefined });
  for (const store of [opened.store, again]) store.read(0, bytes);
  assert.equal(guarded.size, 2);
  alone.read(0, bytes);
  assert.equal(guarded.size, 2);
  CopyGuard.prototype.begin = begin;
  for (const store of [opened.store, again, alone]) store.close?.();
});

/** Runs `work`, the source of a function of a store, on another thread that opens the store from its description. */
async function onAnotherThread(description: StoreDescription, work: string): Promise<void> {
  const script = `
    const { workerData } = require('node:worker_threads');
    import(workerData.module).then(({ reopenStore }) => {
      const store = reopenStore(workerData.description);
      (${work})(store);
      store.close();
    });`;
  const module = new URL('./open-store.ts', import.meta.url).href;
  const worker = startThread(script, { eval: true, workerData: { module, description } });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  worker.once('error', reject).once('exit', () => resolve());
  await promise;
}

test('threads that map one file share what they know of its holes', async () => {
  const spec = isTmpfs('/dev/shm') ? image('/dev/shm') : 'mem:1M';
  const { store, description } = openStore(spec);
  const bytes = new Uint8Array(CHUNK).fill(1);
  await onAnotherThread(description, `(store) => store.write(${4 * CHUNK}, new Uint8Array(${CHUNK}).fill(2))`);
  const chunks = new Uint8Array(description.shared!.chunks);
  assert.deepEqual([...chunks.slice(3, 6)], [0, 1, 0]);
  store.read(4 * CHUNK, bytes);
  assert.deepEqual(bytes, new Uint8Array(CHUNK).fill(2));
  await onAnotherThread(description, `(store) => store.discard(0, store.sizeBytes)`);
  assert.deepEqual([...chunks.slice(3, 6)], [0, 0, 0]);
  store.read(4 * CHUNK, bytes);
  assert.deepEqual(bytes, new Uint8Array(CHUNK));
  if (!spec.startsWith('mem:')) assert.equal(statSync(spec).blocks, 0);
  store.close?.();
});
