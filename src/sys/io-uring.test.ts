// io_uring: operations, their results, the limits of a ring. Against the kernel of this machine.
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CLOEXEC } from './constants.ts';
import { Epoll } from './epoll.ts';
import { IoUring } from './io-uring.ts';
import { closeFd, libc } from './libc.ts';

function missing(): string | false {
  try {
    IoUring.create(1)[Symbol.dispose]();
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'file');
const CONTENT = new Uint8Array(16384).map((_, i) => i ^ (i >> 7));

describe('io_uring', { skip: missing() }, () => {
  function opened(): Disposable & { fd: number; ring: IoUring; run(start: (done: Done) => void): number } {
    writeFileSync(path, CONTENT);
    const fd = openSync(path, 'r+');
    const ring = IoUring.create(8);
    return {
      fd,
      ring,
      run: (start) => {
        let result: number | undefined;
        start({ completed: (value) => (result = value) });
        ring.submit(1);
        ring.reap();
        assert.ok(result !== undefined, 'it has completed');
        return result;
      },
      [Symbol.dispose]: () => {
        ring[Symbol.dispose]();
        closeSync(fd);
      },
    };
  }
  type Done = { completed(result: number): void };

  test('read and write move bytes, at offsets', () => {
    using file = opened();
    const into = new Uint8Array(4096);
    assert.equal(
      file.run((done) => file.ring.read(file.fd, into, 8192, done)),
      4096,
    );
    assert.deepEqual(into, CONTENT.subarray(8192, 12288));
    const from = new Uint8Array(512).fill(7);
    assert.equal(
      file.run((done) => file.ring.write(file.fd, from, 1024, done)),
      512,
    );
    assert.deepEqual(new Uint8Array(readFileSync(path).subarray(1024, 1536)), from);
  });

  test('an offset beyond 4 GiB reaches the kernel whole', () => {
    using file = opened();
    const from = new Uint8Array(8).fill(9);
    const offset = 5 * 2 ** 30 + 3;
    assert.equal(
      file.run((done) => file.ring.write(file.fd, from, offset, done)),
      8,
    );
    const into = new Uint8Array(8);
    assert.equal(
      file.run((done) => file.ring.read(file.fd, into, offset, done)),
      8,
    );
    assert.deepEqual(into, from);
  });

  test('vectors', () => {
    using file = opened();
    const pieces = [new Uint8Array(1), new Uint8Array(511), new Uint8Array(1024)];
    assert.equal(
      file.run((done) => file.ring.readv(file.fd, pieces, 512, done)),
      1536,
    );
    assert.deepEqual(Uint8Array.from(pieces.flatMap((piece) => [...piece])), CONTENT.subarray(512, 2048));
    assert.equal(
      file.run((done) => file.ring.writev(file.fd, pieces, 0, done)),
      1536,
    );
    assert.deepEqual(new Uint8Array(readFileSync(path).subarray(0, 1536)), CONTENT.subarray(512, 2048));
  });

  test('fdatasync and fallocate', () => {
    using file = opened();
    assert.equal(
      file.run((done) => file.ring.fdatasync(file.fd, done)),
      0,
    );
    const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
    assert.equal(
      file.run((done) => file.ring.fallocate(file.fd, mode, 4096, 4096, done)),
      0,
    );
    const now = new Uint8Array(readFileSync(path));
    assert.ok(now.subarray(4096, 8192).every((byte) => byte === 0));
    assert.deepEqual(now.subarray(8192), CONTENT.subarray(8192));
  });

  test('an error is a negative errno, and an end of file is 0', () => {
    using file = opened();
    const into = new Uint8Array(512);
    assert.equal(
      file.run((done) => file.ring.read(-1, into, 0, done)),
      -os.errno.EBADF,
    );
    assert.equal(
      file.run((done) => file.ring.read(file.fd, into, 1 << 20, done)),
      0,
    );
  });

  test('a registered file is the same file', () => {
    using file = opened();
    file.ring.registerFile(file.fd);
    const into = new Uint8Array(512);
    assert.equal(
      file.run((done) => file.ring.read(file.fd, into, 512, done)),
      512,
    );
    assert.deepEqual(into, CONTENT.subarray(512, 1024));
  });

  test('its descriptor is readable while there are completions', () => {
    using file = opened();
    using epoll = new Epoll();
    epoll.add(file.ring.fd, 1, 1);
    assert.equal(epoll.wait(0), 0);
    let completed = 0;
    file.ring.fdatasync(file.fd, { completed: () => completed++ });
    file.ring.submit(1);
    assert.equal(epoll.wait(-1), 1);
    assert.equal(completed, 0, 'nothing completes before it is reaped');
    assert.equal(file.ring.reap(), 1);
    assert.equal(completed, 1);
    assert.equal(epoll.wait(0), 0);
  });

  test('more operations than entries, over and over: all complete once, none is lost', () => {
    using file = opened();
    const { ring, fd } = file;
    const buffers = Array.from({ length: 8 }, () => new Uint8Array(512));
    let completed = 0;
    for (let round = 0; round < 1000; round++) {
      const wanted = 1 + (round % 8);
      for (let i = 0; i < wanted; i++) {
        const into = buffers[i] as Uint8Array;
        ring.read(fd, into, 512 * i, {
          completed: (result) => {
            assert.equal(result, 512);
            assert.equal(into[3], CONTENT[512 * i + 3]);
            completed++;
          },
        });
      }
      assert.equal(ring.inFlight, wanted);
      while (ring.inFlight > 0) {
        ring.submit(1);
        ring.reap();
      }
      completed -= wanted;
    }
    assert.equal(completed, 0);
  });

  test('a full ring refuses one more operation', () => {
    using file = opened();
    for (let i = 0; i < file.ring.entries; i++) file.ring.fdatasync(file.fd, { completed: () => {} });
    assert.equal(file.ring.room, 0);
    assert.throws(() => file.ring.fdatasync(file.fd, { completed: () => {} }), /8 operations are in flight/);
  });

  test('an operation that would wait for ever is cancelled, and so it is when the ring is disposed', () => {
    // An eventfd that blocks and is not signalled: the kernel waits for it.
    const fd = libc.eventfd(0, O_CLOEXEC);
    const into = new Uint8Array(8);
    const results: number[] = [];
    const request = { completed: (result: number) => void results.push(result) };
    using ring = IoUring.create(8);
    ring.read(fd, into, 0, request);
    ring.submit();
    assert.equal(ring.reap(), 0);
    ring.cancelAll();
    while (ring.inFlight > 0) {
      ring.submit(1);
      ring.reap();
    }
    const other = IoUring.create(8);
    other.read(fd, into, 0, request);
    other.submit();
    other[Symbol.dispose]();
    closeFd(fd);
    assert.deepEqual(results, [-os.errno.ECANCELED, -os.errno.ECANCELED]);
  });

  test('what a callback starts is another operation, and a callback that throws costs no other', () => {
    using file = opened();
    const { ring, fd } = file;
    let seen = 0;
    const again = { completed: () => void seen++ };
    ring.fdatasync(fd, { completed: () => ring.fdatasync(fd, again) });
    ring.fdatasync(fd, {
      completed: () => {
        throw new Error('mine');
      },
    });
    ring.fdatasync(fd, again);
    ring.submit(3);
    assert.throws(() => ring.reap(), /mine/);
    while (ring.inFlight > 0) {
      ring.submit(ring.staged > 0 ? 1 : 0);
      ring.reap();
    }
    assert.equal(seen, 2);
  });
});
