// The limits of a disk, with a clock and a timer of the test: exact rates, order, sharing, changes, ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockStore, StoreLoop } from '../../devices/blk/block-store.ts';
import { EventLoop } from '../../sys/event-loop.ts';
import { memory } from '../memory.ts';
import { limit } from './limit.ts';
import { type LimitOptions, Limits } from './limits.ts';

/** A clock that stands still until `pass`, and timers on it. */
class VirtualTime {
  #nowNs = 1_000_000_000n;
  readonly #timers = new Set<{ readonly dueNs: bigint; readonly task: () => void }>();
  /** Timers that were pending at the same time. */
  mostTimers = 0;
  /** Timers that were started. */
  started = 0;
  readonly clock = (): bigint => this.#nowNs;
  readonly loop: StoreLoop = {
    watch: () => assert.fail('nothing to watch'),
    soon: () => assert.fail('nothing to do soon'),
    timer: (delayMs, task) => {
      const timer = { dueNs: this.#nowNs + BigInt(Math.round(delayMs * 1e6)), task };
      this.#timers.add(timer);
      this.started++;
      this.mostTimers = Math.max(this.mostTimers, this.#timers.size);
      return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
    },
  };

  get pending(): number {
    return this.#timers.size;
  }

  /** Lets `ms` pass: every timer in it expires at its time, and promises settle. */
  async pass(ms: number): Promise<void> {
    const endNs = this.#nowNs + BigInt(Math.round(ms * 1e6));
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => Number(a.dueNs - b.dueNs));
      if (next === undefined || next.dueNs > endNs) break;
      this.#timers.delete(next);
      this.#nowNs = next.dueNs;
      next.task();
      await settle();
    }
    this.#nowNs = endNs;
    await settle();
  }

  /** As a busy thread: the clock goes on, and timers do not expire. */
  stall(ms: number): void {
    this.#nowNs += BigInt(Math.round(ms * 1e6));
  }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** A disk that counts its requests. */
function counting(): { readonly store: BlockStore; readonly served: string[] } {
  const served: string[] = [];
  const count = (what: string) => (offset: number) => void served.push(`${what} ${offset}`);
  const store: BlockStore = {
    sizeBytes: 1 << 30,
    read: count('read'),
    write: count('write'),
    flush: () => void served.push('flush'),
    discard: count('discard'),
    writeZeroes: count('zero'),
    close: () => void served.push('close'),
  };
  return { store, served };
}

/** A limited disk in virtual time. */
function limited(options: LimitOptions | Limits, time = new VirtualTime()) {
  const limits = options instanceof Limits ? options : new Limits(options, time.clock);
  const { store: next, served } = counting();
  const store = limit(limits)(next);
  store.attach?.(time.loop);
  const sector = new Uint8Array(512);
  return {
    time,
    limits,
    store,
    served,
    /** Makes `count` reads, or writes, of 512 bytes. Returns how many were served at once. */
    read: (count: number, bytes = sector): number => {
      const before = served.length;
      for (let i = 0; i < count; i++) void store.read(i, bytes);
      return served.length - before;
    },
    write: (count: number, bytes = sector): number => {
      const before = served.length;
      for (let i = 0; i < count; i++) void store.write?.(i, bytes);
      return served.length - before;
    },
  };
}

test('a limit that is not reached: every request is synchronous, and there is no timer', async () => {
  const { store, time, served } = limited({ iops: 1_000_000, bps: 1 << 30, reads: { iops: 500_000 } });
  const bytes = new Uint8Array(512);
  for (let i = 0; i < 1000; i++) {
    assert.equal(store.read(0, bytes), undefined);
    assert.equal(store.write?.(0, bytes), undefined);
    assert.equal(store.readv?.(0, [bytes, bytes]), undefined);
    assert.equal(store.discard?.(0, 512), undefined);
    assert.equal(store.writeZeroes?.(0, 512, true), undefined);
    await time.pass(0.1);
  }
  assert.equal(time.started, 0);
  assert.equal(served.length, 6000);
});

test('iops: the burst at once, then exactly the rate', async () => {
  const { read, served, time } = limited({ iops: 500, burst: 2 });
  assert.equal(read(5000), 1000);
  await time.pass(1000);
  assert.equal(served.length, 1500);
  await time.pass(1.9);
  assert.equal(served.length, 1500);
  await time.pass(0.1);
  assert.equal(served.length, 1501);
  await time.pass(6000 - 2);
  assert.equal(served.length, 4500);
});

test('iops: a disk whose requests come at the rate never waits; one that comes a little faster does', async () => {
  const { read, time } = limited({ iops: 100, burst: 0.01 });
  for (let i = 0; i < 50; i++) {
    assert.equal(read(1), 1, `request ${i}`);
    await time.pass(10);
  }
  assert.equal(read(1), 1);
  await time.pass(9.9);
  assert.equal(read(1), 0);
});

test('bps: the burst at once, then exactly the rate, whatever the size of the requests', async () => {
  const { read, served, time } = limited({ bps: 1 << 20 });
  assert.equal(read(1000, new Uint8Array(4096)), 256);
  await time.pass(1000);
  assert.equal(served.length, 512);
  const mixed = limited({ bps: 1 << 20 });
  for (let i = 0; i < 2000; i++) mixed.read(1, new Uint8Array(512 * (1 + (i % 7))));
  const bytesServed = (): number => mixed.served.reduce((sum, _, i) => sum + 512 * (1 + (i % 7)), 0);
  assert.ok(bytesServed() <= 1 << 20 && bytesServed() > (1 << 20) - 7 * 512, 'the next one does not fit');
  await mixed.time.pass(500);
  assert.ok(bytesServed() <= 3 << 19 && bytesServed() > (3 << 19) - 7 * 512);
});

test('a high rate: tokens that a thread took in advance change the burst by a 1024th at most', async () => {
  const { read, served, time } = limited({ iops: 20_000, burst: 0.2 });
  assert.equal(read(5000), 4000);
  await time.pass(50);
  assert.equal(served.length, 5000);
  await time.pass(10_000);
  const again = read(5000);
  assert.ok(again >= 4000 && again <= 4000 + Math.floor(4000 / 1024), `${again}`);
});

test('burst: an idle disk saves up so many seconds, and no more', async () => {
  const { read, time } = limited({ iops: 100, burst: 0.5 });
  assert.equal(read(50), 50);
  await time.pass(100);
  assert.equal(read(10), 10);
  await time.pass(3600_000);
  assert.equal(read(51), 50);
});

test('requests wait in their order: none is overtaken, and the wait ends in a single pass when time is there', async () => {
  const { store, served, time } = limited({ iops: 10, burst: 0.1 });
  const answers: number[] = [];
  const bytes = new Uint8Array(512);
  for (let i = 0; i < 20; i++) void Promise.resolve(store.read(i, bytes)).then(() => answers.push(i));
  await time.pass(1000);
  void Promise.resolve(store.read(20, bytes)).then(() => answers.push(20));
  await time.pass(2000);
  assert.deepEqual(
    answers,
    Array.from({ length: 21 }, (_, i) => i),
  );
  assert.deepEqual(
    served,
    answers.map((i) => `read ${i}`),
  );
});

test('reads and writes have limits of their own; those of all requests hold as well', async () => {
  const { read, write, served, time } = limited({
    iops: 100,
    reads: { iops: 10 },
    writes: { iops: 1000, bps: 1 << 20 },
  });
  assert.equal(read(50), 10);
  assert.equal(write(200), 89, 'the first read that waits has its token of all');
  await time.pass(10_000);
  const count = (what: string): number => served.filter((line) => line.startsWith(what)).length;
  assert.deepEqual([count('read'), count('write')], [50, 200]);
});

test('a waiting read does not hold up a write, nor a write a read', async () => {
  const { read, write, served, time } = limited({ reads: { iops: 1 }, writes: { iops: 2 } });
  assert.equal(read(5), 1);
  assert.equal(write(5), 2);
  await time.pass(1000);
  assert.deepEqual(served, ['read 0', 'write 0', 'write 1', 'write 2', 'read 1', 'write 3']);
});

test('a request in pieces is one request; a discard and a write of zeroes are writes without bytes; a flush is none', () => {
  const { store, served } = limited({ iops: 5, bps: 4096 });
  const bytes = new Uint8Array(512);
  assert.equal(store.readv?.(0, [bytes, bytes, bytes, bytes]), undefined);
  assert.equal(store.writev?.(0, [bytes, bytes, bytes, bytes]), undefined);
  assert.equal(store.discard?.(0, 1 << 24), undefined);
  assert.equal(store.writeZeroes?.(0, 1 << 24, true), undefined);
  assert.equal(store.discard?.(0, 1 << 24), undefined);
  assert.ok(store.discard?.(0, 512) instanceof Promise);
  assert.equal(store.flush?.(), undefined);
  assert.equal(served.length, 12);
});

test('a request that is larger than the burst is served when the bucket is full, and those after it pay', async () => {
  const { read, served, time } = limited({ bps: 64 * 1024, burst: 0.5 });
  const large = new Uint8Array(128 * 1024);
  assert.equal(read(1, large), 1, 'the bucket was full');
  assert.equal(read(1), 0);
  // 128 KiB of the 32 there were: 96 KiB of debt, and 512 bytes.
  await time.pass(1500);
  assert.equal(served.length, 1);
  await time.pass(8);
  assert.equal(served.length, 2);
  assert.equal(read(1, large), 0);
  await time.pass(499);
  assert.equal(served.length, 2);
  await time.pass(2);
  assert.equal(served.length, 3, 'full again');
});

test('two disks, or threads, that share a limit take turns, and keep it together', async () => {
  const one = limited({ iops: 100, burst: 0.1 });
  const two = limited(new Limits(one.limits.memory, one.time.clock), one.time);
  assert.equal(one.read(3) + two.read(3), 6);
  assert.equal(one.read(300) + two.read(300), 4);
  const before = [one.served.length, two.served.length] as const;
  await one.time.pass(1000);
  assert.equal(one.served.length + two.served.length, 110);
  assert.deepEqual([one.served.length - before[0], two.served.length - before[1]], [50, 50]);
  assert.equal(one.time.mostTimers, 2);
});

test('a large request is not kept waiting for ever by small ones of another disk in its group', async () => {
  const one = limited({ bps: 1 << 20, burst: 0.1 });
  const two = limited(new Limits(one.limits.memory, one.time.clock), one.time);
  two.read(5000);
  one.read(1, new Uint8Array(1 << 20));
  await one.time.pass(200);
  assert.equal(one.served.length, 1);
});

test('a limit that is changed holds at once for new requests, and within 100 ms for those that wait', async () => {
  const { read, served, limits, time } = limited({ iops: 1 });
  assert.equal(read(300), 1);
  limits.set({ iops: 1000 });
  await time.pass(100);
  const soon = served.length;
  assert.ok(soon <= 101, `${soon}`);
  await time.pass(300);
  assert.equal(served.length, 300);
  limits.set({ iops: 10 });
  assert.equal(read(5), 0, 'nothing is saved up');
  await time.pass(500);
  assert.equal(served.length, 305);
  limits.set({});
  assert.equal(read(10_000), 10_000, 'no limit');
  limits.set({ iops: 10, burst: 2 }, 'reads');
  assert.equal(read(1), 0);
  await time.pass(5000);
  assert.equal(read(50), 20);
});

test('a limit that is removed frees those that wait; one that is lowered holds for them', async () => {
  const { read, served, limits, time } = limited({ iops: 1 });
  read(100);
  limits.set({});
  await time.pass(100);
  assert.equal(served.length, 100);
  assert.equal(time.pending, 0);
  limits.set({ bps: 1024 });
  read(100);
  limits.set({ bps: 2048 });
  await time.pass(10_000);
  assert.ok(served.length - 100 <= 40 && served.length - 100 >= 39, `${served.length}`);
});

test('requests whose queue has to stop run at once, and the next one has the place of the first', async () => {
  const { store, served, time } = limited({ iops: 1, burst: 1 });
  const bytes = new Uint8Array(512);
  const given = new AbortController();
  assert.equal(store.read(0, bytes, given.signal), undefined);
  const first = store.read(1, bytes, given.signal);
  const other = store.read(2, bytes);
  const second = store.read(3, bytes, given.signal);
  await time.pass(500);
  given.abort(new Error('the queue has to stop'));
  await Promise.all([first, second]);
  assert.deepEqual(served, ['read 0', 'read 1', 'read 3']);
  await time.pass(500);
  await other;
  assert.deepEqual(served, ['read 0', 'read 1', 'read 3', 'read 2']);
  assert.equal(time.pending, 0);
  await store.read(4, bytes, given.signal);
  await time.pass(1000);
  assert.equal(store.read(5, bytes), undefined, 'it took no token');
});

test('close rejects what waits, in both directions, and stops the timer', async () => {
  const { store, served, time } = limited({ iops: 1 });
  const bytes = new Uint8Array(512);
  store.read(0, bytes);
  const waiting = [store.read(1, bytes), store.write?.(2, bytes), store.discard?.(0, 512)];
  const ends = Promise.allSettled(waiting);
  await store.close?.();
  for (const end of await ends) {
    assert.equal(end.status, 'rejected');
    assert.match(String(end.reason), /the disk was closed while the request waited/);
  }
  assert.equal(time.pending, 0);
  assert.deepEqual(served, ['read 0', 'close']);
  const bare = limit(new Limits({ iops: 1 }))({ sizeBytes: 512, read: () => {} });
  assert.equal(bare.close?.(), undefined);
});

test('there is one timer while requests wait, and none while none does', async () => {
  const { read, write, time } = limited({ iops: 50, burst: 0.1, reads: { iops: 20, burst: 0.1 } });
  for (let round = 0; round < 5; round++) {
    read(20);
    write(20);
    assert.equal(time.pending, 1);
    await time.pass(3000);
    assert.equal(time.pending, 0);
  }
  assert.equal(time.mostTimers, 1);
  const { started } = time;
  await time.pass(3600_000);
  assert.equal(time.started, started, 'an idle disk has no timer');
});

test('a wait needs no more timers than requests, and one every 100 ms', async () => {
  const { read, served, time } = limited({ iops: 2 });
  read(22);
  assert.equal(time.started, 1);
  await time.pass(10_000);
  assert.equal(served.length, 22);
  assert.ok(time.started <= 22 + 100, `${time.started}`);
});

test('a thread that was busy serves what became due meanwhile, and the rate stays', async () => {
  const { read, served, time } = limited({ iops: 100, burst: 1 });
  read(1000);
  time.stall(555);
  await time.pass(0);
  assert.equal(served.length, 155);
  await time.pass(445);
  assert.equal(served.length, 200);
});

test('what the store does with a request that waited is what its promise does', async () => {
  const time = new VirtualTime();
  const answers: (() => unknown)[] = [
    () => {
      throw new Error('thrown');
    },
    () => Promise.reject(new Error('rejected')),
    () => 512,
    () => Promise.resolve(),
  ];
  const next = { sizeBytes: 512, read: () => answers.shift()?.() } as unknown as BlockStore;
  const store = limit(new Limits({ iops: 1, burst: 0.01 }, time.clock))(next);
  store.attach?.(time.loop);
  answers.unshift(() => undefined);
  store.read(0, new Uint8Array(512));
  const ends = Promise.allSettled([0, 1, 2, 3].map((i) => store.read(i, new Uint8Array(512))));
  await time.pass(10_000);
  assert.deepEqual(
    (await ends).map(({ status }) => status),
    ['rejected', 'rejected', 'fulfilled', 'fulfilled'],
  );
});

test('without an event loop it waits with Node’s timer; with one that never returns to Node’s, with that one’s', async () => {
  const bytes = new Uint8Array(512);
  const store = limit(new Limits({ iops: 1000, burst: 0.01 }))(memory(64 * 1024));
  await Promise.all(Array.from({ length: 30 }, () => store.read(0, bytes)));
  const loop = new EventLoop();
  store.attach?.(loop);
  let served = 0;
  for (let i = 0; i < 30; i++) void Promise.resolve(store.read(0, bytes)).then(() => ++served === 30 && loop.stop());
  await loop.run();
  assert.equal(served, 30);
  await store.close?.();
  loop[Symbol.dispose]();
});

test('requests that wait when the event loop comes are woken by it', async () => {
  const time = new VirtualTime();
  const store = limit(new Limits({ iops: 1, burst: 1 }, time.clock))(counting().store);
  store.read(0, new Uint8Array(512));
  const late = store.read(0, new Uint8Array(512));
  assert.equal(time.pending, 0);
  store.attach?.(time.loop);
  assert.equal(time.pending, 1);
  await time.pass(1000);
  await late;
});

test('a store without readv gets whole sectors: piece by piece, or in one piece where a cut is within a sector', async () => {
  const disk = new Uint8Array(4096).map((_, i) => i);
  const calls: string[] = [];
  const next: BlockStore = {
    sizeBytes: disk.length,
    read: async (offset, into) => {
      calls.push(`read ${offset} ${into.length}`);
      into.set(disk.subarray(offset, offset + into.length));
    },
    write: (offset, from) => {
      calls.push(`write ${offset} ${from.length}`);
      disk.set(from, offset);
    },
  };
  const store = limit(new Limits({ iops: 1000 }))(next);
  const bytes = new Uint8Array(1536);
  const cut = (...at: number[]) => at.slice(1).map((end, i) => bytes.subarray(at[i], end));
  await store.readv?.(512, cut(0, 512, 1536));
  assert.deepEqual(bytes, disk.slice(512, 2048));
  await store.readv?.(1024, cut(0, 100, 1536));
  assert.deepEqual(bytes, disk.slice(1024, 2560));
  assert.equal(store.writev?.(0, cut(0, 512, 1536)), undefined);
  assert.equal(store.writev?.(2048, cut(0, 1, 1535, 1536)), undefined);
  assert.deepEqual([disk.slice(0, 1536), disk.slice(2048, 3584)], [bytes, bytes]);
  assert.deepEqual(calls, [
    'read 512 512',
    'read 1024 1024',
    'read 1024 1536',
    'write 0 512',
    'write 512 1024',
    'write 2048 1536',
  ]);
});

test('a request in pieces of which one fails ends when the others have ended', async () => {
  const gate = Promise.withResolvers<void>();
  const answers: (() => unknown)[] = [
    () => gate.promise,
    () => {
      throw new Error('no such sector');
    },
  ];
  const next = { sizeBytes: 4096, read: () => answers.shift()?.() } as unknown as BlockStore;
  let hasEnded = false;
  const pieces = [new Uint8Array(512), new Uint8Array(512)];
  const request = Promise.resolve(limit(new Limits({ iops: 1000 }))(next).readv?.(0, pieces));
  const end = request.finally(() => {
    hasEnded = true;
  });
  end.catch(() => {});
  await settle();
  assert.equal(hasEnded, false);
  gate.resolve();
  await assert.rejects(end, /no such sector/);
});
