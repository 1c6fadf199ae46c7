// What a ring of threads does with real files: operations and their results, its limits, its descriptor, its end.
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { eventually } from '../testing/patience.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CLOEXEC } from './constants.ts';
import { Epoll } from './epoll.ts';
import { EventFd } from './event-fd.ts';
import { closeFd, libc } from './libc.ts';
import type { IoRequest } from './operation-ring.ts';
import { ThreadRing } from './thread-ring.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'file');
const CONTENT = new Uint8Array(16384).map((_, i) => i ^ (i >> 7));

function opened(
  threads = 2,
): Disposable & { fd: number; ring: ThreadRing; run(start: (done: IoRequest) => void): number } {
  writeFileSync(path, CONTENT);
  const fd = openSync(path, 'r+');
  const ring = new ThreadRing({ entries: 8, threads });
  return {
    fd,
    ring,
    run: (start) => {
      let result: number | undefined;
      start({ completed: (value) => (result = value) });
      for (ring.submit(1); result === undefined; ring.reap());
      return result;
    },
    [Symbol.dispose]: () => {
      ring[Symbol.dispose]();
      closeSync(fd);
    },
  };
}

test('every operation moves what it should, and returns what its system call returns', () => {
  using file = opened();
  const { fd, ring, run } = file;
  const into = new Uint8Array(4096);
  assert.equal(
    run((done) => ring.read(fd, into, 8192, done)),
    4096,
  );
  assert.deepEqual(into, CONTENT.subarray(8192, 12288));
  const pieces = [new Uint8Array(1), new Uint8Array(511), new Uint8Array(1024)];
  assert.equal(
    run((done) => ring.readv(fd, pieces, 512, done)),
    1536,
  );
  assert.deepEqual(Uint8Array.from(pieces.flatMap((piece) => [...piece])), CONTENT.subarray(512, 2048));
  assert.equal(
    run((done) => ring.writev(fd, pieces, 0, done)),
    1536,
  );
  assert.equal(
    run((done) => ring.write(fd, into.fill(7), 5 * 2 ** 30, done)),
    4096,
  );
  assert.equal(
    run((done) => ring.read(fd, into.fill(0), 5 * 2 ** 30, done)),
    4096,
  );
  assert.ok(
    into.every((byte) => byte === 7),
    'an offset beyond 4 GiB arrives whole',
  );
  assert.equal(
    run((done) => ring.fdatasync(fd, done)),
    0,
  );
  const hole = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
  assert.equal(
    run((done) => ring.fallocate(fd, hole, 8192, 4096, done)),
    0,
  );
  assert.ok(run((done) => ring.read(fd, into, 8192, done)) === 4096 && into.every((byte) => byte === 0));
  assert.equal(
    run((done) => ring.read(-1, into, 0, done)),
    -os.errno.EBADF,
  );
  assert.equal(
    run((done) => ring.read(fd, into, 2 ** 40, done)),
    0,
    'the end of the file',
  );
});

test('of many pieces the first are moved', () => {
  using file = opened();
  const pieces = Array.from({ length: 1000 }, () => new Uint8Array(2));
  assert.equal(
    file.run((done) => file.ring.readv(file.fd, pieces, 0, done)),
    128,
  );
  assert.deepEqual(pieces[63], CONTENT.subarray(126, 128));
});

test('it has room for as many operations as it has entries, and each completes once', () => {
  using file = opened(3);
  const { fd, ring } = file;
  const counts = new Map<number, number>();
  for (let round = 0; round < 500; round++) {
    const intos = Array.from({ length: ring.room }, () => new Uint8Array(16));
    for (const [i, into] of intos.entries()) {
      const name = 8 * round + i;
      ring.read(fd, into, 16 * i, { completed: (result) => counts.set(name, (counts.get(name) ?? 0) + result) });
    }
    assert.deepEqual([ring.room, ring.staged], [0, intos.length]);
    for (ring.submit(intos.length); ring.room < 8; ring.reap());
    for (const [i, into] of intos.entries()) assert.deepEqual(into, CONTENT.subarray(16 * i, 16 * i + 16));
  }
  assert.deepEqual([counts.size, new Set(counts.values())], [4000, new Set([16])]);
});

test('its descriptor is readable while there are completions, and not when all were reaped', () => {
  using file = opened();
  using epoll = new Epoll();
  epoll.add(file.ring.fd, 1, 1);
  const into = new Uint8Array(8);
  for (let round = 0; round < 200; round++) {
    let isDone = false;
    file.ring.read(file.fd, into, 0, { completed: () => (isDone = true) });
    file.ring.submit();
    // Without a lost wake-up: whoever sleeps until it is readable finds the completion.
    while (!isDone) {
      assert.equal(epoll.wait(-1), 1);
      file.ring.woken();
      file.ring.reap();
    }
  }
});

test('operations that no thread has begun are cancelled; those that have been are waited for', () => {
  // A read of an eventfd that is not signalled waits.
  const fd = libc.eventfd(0, O_CLOEXEC);
  const results: number[] = [];
  const ring = new ThreadRing({ entries: 8, threads: 1 });
  const intos = Array.from({ length: 4 }, () => new Uint8Array(8));
  for (const into of intos) ring.read(fd, into, 0, { completed: (result) => results.push(result) });
  ring.submit();
  ring.cancelAll();
  // An eventfd has no offsets: preadv(2) fails with ESPIPE at once, unless it was cancelled before.
  EventFd.borrow(fd).signal();
  ring[Symbol.dispose]();
  assert.equal(results.length, 4);
  for (const result of results) assert.ok([-os.errno.ECANCELED, -os.errno.ESPIPE].includes(result), String(result));
  closeFd(fd);
});

/** Worker threads of this process: Node has others, which come when it needs them. */
function workers(): number {
  const names = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8');
    } catch {
      return ''; // it has just ended
    }
  });
  return names.filter((name) => name.startsWith('WorkerThread')).length;
}

test('when it is closed its threads end, and leave no descriptor', async () => {
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  await eventually('the threads of other tests have ended', () => workers() === 0);
  const before = descriptors();
  const file = opened(4);
  file.run((done) => file.ring.fdatasync(file.fd, done));
  assert.equal(workers(), 4);
  file[Symbol.dispose]();
  await eventually('its threads have ended', () => workers() === 0);
  await eventually('their descriptors are closed', () => descriptors() <= before);
});
