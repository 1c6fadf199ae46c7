// virtio-blk, request by request: status, used length, the calls of the store, and stores that fail.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BlockLoopback } from '../../testing/block-loopback.ts';
import { blockRequest } from '../../testing/block-request.ts';
import { UNWRITTEN } from '../../testing/chain-driver.ts';
import type { BlockStore, Completion, CompletionListener, StoreLoop } from './block-store.ts';
import * as blk from './spec.ts';

const SECTORS = 64;
const SIZE = SECTORS * 512;

/** A disk in memory that records its calls. */
function recordingStore(): { store: Required<Pick<BlockStore, 'write' | 'flush'>> & BlockStore; asked: string[] } {
  const bytes = Uint8Array.from({ length: SIZE }, (_, i) => (i >> 9) + 1);
  const asked: string[] = [];
  const store = {
    name: 'recorder',
    sizeBytes: SIZE,
    read(offset: number, into: Uint8Array) {
      asked.push(`read ${offset} ${into.length}`);
      into.set(bytes.subarray(offset, offset + into.length));
    },
    write(offset: number, from: Uint8Array) {
      asked.push(`write ${offset} ${from.length}`);
      bytes.set(from, offset);
    },
    flush() {
      asked.push('flush');
    },
  };
  return { store, asked };
}

/** A promise for each call, in the order of the calls, that the test settles. */
class Held {
  readonly calls: { offset: number; bytes: Uint8Array; done: () => void; fail: (cause: Error) => void }[] = [];
  readonly hold = (offset: number, bytes: Uint8Array): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.calls.push({ offset, bytes, done: resolve, fail: reject });
    return promise;
  };
}

function fail(cause: unknown): never {
  throw cause;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

suite('the usual requests', () => {
  test('a read gives its bytes, and the used length counts the status byte', async () => {
    const { store, asked } = recordingStore();
    const result = await new BlockLoopback(store).request(blockRequest.read(3, 1024));
    assert.equal(result.status, blk.VIRTIO_BLK_S_OK);
    assert.equal(result.usedLength, 1025);
    assert.deepEqual(
      result.data,
      Uint8Array.from({ length: 1024 }, (_, i) => 4 + (i >> 9)),
    );
    assert.deepEqual(asked, ['read 1536 1024']);
  });

  test('a write is read back, and its used length is 1', async () => {
    const loop = new BlockLoopback(recordingStore().store);
    const bytes = Uint8Array.from({ length: 1024 }, (_, i) => i * 3);
    const written = await loop.request(blockRequest.write(5, bytes));
    assert.deepEqual([written.status, written.usedLength], [blk.VIRTIO_BLK_S_OK, 1]);
    assert.deepEqual((await loop.request(blockRequest.read(5, 1024))).data, bytes);
  });

  test('a flush reaches the store', async () => {
    const { store, asked } = recordingStore();
    const { status, usedLength } = await new BlockLoopback(store).request(blockRequest.flush());
    assert.deepEqual([status, usedLength, asked], [blk.VIRTIO_BLK_S_OK, 1, ['flush']]);
  });

  test('a flush succeeds on a store that has no cache', async () => {
    const { read, write, sizeBytes } = recordingStore().store;
    const { status } = await new BlockLoopback({ read, write, sizeBytes }).request(blockRequest.flush());
    assert.equal(status, blk.VIRTIO_BLK_S_OK);
  });

  test('a read and a write of no bytes succeed and ask the store nothing', async () => {
    const { store, asked } = recordingStore();
    const loop = new BlockLoopback(store);
    for (const request of [blockRequest.read(SECTORS, 0), blockRequest.write(0, new Uint8Array(0))]) {
      const { status, usedLength } = await loop.request(request);
      assert.deepEqual([status, usedLength], [blk.VIRTIO_BLK_S_OK, 1]);
    }
    assert.deepEqual(asked, []);
  });

  test('readv and writev take a request in pieces, whole', async () => {
    const asked: string[] = [];
    const lengths = (pieces: readonly Uint8Array[]): string => pieces.map(({ length }) => length).join('+');
    const loop = new BlockLoopback({
      ...recordingStore().store,
      readv: (offset, into) => void asked.push(`readv ${offset} ${lengths(into)}`),
      writev: (offset, from) => void asked.push(`writev ${offset} ${lengths(from)}`),
    });
    await loop.request(blockRequest.read(1, 1536), { writable: [512, 512] });
    await loop.request(blockRequest.write(2, new Uint8Array(1024)), { readable: [16, 512] });
    assert.deepEqual(asked, ['readv 512 512+512+512', 'writev 1024 512+512']);
  });
});

suite('what is refused', () => {
  const cases = [
    ['a read past the end', blockRequest.read(SECTORS - 1, 1024)],
    ['a read at the end', blockRequest.read(SECTORS, 512)],
    ['a write past the end', blockRequest.write(SECTORS - 1, new Uint8Array(1024))],
    ['a read at a sector whose offset wraps 2^64', blockRequest.read(2 ** 55, 512)],
    ['a read at the last sector a header can name', blockRequest.read(2 ** 64 - 2048, 512)],
    ['a read of half a sector', blockRequest.read(0, 256)],
    ['a write of a sector and a byte', blockRequest.write(0, new Uint8Array(513))],
  ] as const;
  for (const [name, request] of cases) {
    test(`${name} is IOERR, and the store is not asked`, async () => {
      const { store, asked } = recordingStore();
      const result = await new BlockLoopback(store).request(request);
      assert.deepEqual([result.status, result.usedLength], [blk.VIRTIO_BLK_S_IOERR, 1]);
      assert.ok(result.data.every((byte) => byte === UNWRITTEN));
      assert.deepEqual(asked, []);
    });
  }

  test('a request that is not aligned to what the store can address', async () => {
    const { store, asked } = recordingStore();
    const loop = new BlockLoopback({ ...store, alignment: 4096 });
    assert.equal(new DataView(loop.device.config.bytes.buffer).getUint32(blk.CONFIG.blk_size, true), 4096);
    for (const request of [blockRequest.read(1, 4096), blockRequest.read(0, 512)])
      assert.equal((await loop.request(request)).status, blk.VIRTIO_BLK_S_IOERR);
    assert.equal((await loop.request(blockRequest.read(8, 4096))).status, blk.VIRTIO_BLK_S_OK);
    assert.deepEqual(asked, ['read 4096 4096']);
  });

  test('regression: more in one request than was offered, and than any honest driver asks for', async () => {
    const { store, asked } = recordingStore();
    const loop = new BlockLoopback({
      ...store,
      sizeBytes: 2 ** 30,
      read: (offset, into) => asked.push(`${offset} ${into.length}`) as never,
    });
    // All descriptors have the same 256 KiB.
    const data = loop.memory.allocate(2 ** 18);
    const header = loop.memory.allocate(17);
    const pieces = Array.from({ length: 126 }, () => ({ address: data, length: 2 ** 18, writable: true }));
    const head = { address: header, length: 16, writable: false };
    const status = { address: header + 16, length: 1, writable: true };
    for (const [copies, expected] of [
      [1, blk.VIRTIO_BLK_S_OK],
      [5, blk.VIRTIO_BLK_S_IOERR],
    ] as const) {
      const many = Array.from({ length: copies }, () => pieces).flat();
      const big = new BlockLoopback(
        { ...store, sizeBytes: 2 ** 30, read: () => {} },
        { size: 1024, memoryBytes: 2 ** 20 },
      );
      const at = big.memory.allocate(2 ** 18 + 32);
      const moved = many.map((piece) => ({ ...piece, address: at + 32 }));
      big.driver.queue.add([{ ...head, address: at }, ...moved, { ...status, address: at + 16 }]);
      big.kick([]);
      assert.equal(big.memory.slice(at + 16, 1)[0], expected, `${copies} times ${126 * 2 ** 18} bytes`);
    }
  });
});

suite('stores that answer later', () => {
  test('two requests complete out of order', async () => {
    const held = new Held();
    const loop = new BlockLoopback({ sizeBytes: SIZE, read: held.hold });
    loop.kick([blockRequest.read(0, 512), blockRequest.read(1, 512)]);
    held.calls[1]?.bytes.fill(0xb);
    held.calls[1]?.done();
    await turn();
    const [second] = loop.driver.harvest();
    assert.equal(second?.request.sector, 1);
    assert.ok(second?.data.every((byte) => byte === 0xb));
    assert.equal(loop.queue.inFlight, 1);
    held.calls[0]?.bytes.fill(0xa);
    held.calls[0]?.done();
    const [first] = await loop.settle();
    assert.deepEqual([first?.request.sector, first?.usedLength], [0, 513]);
    assert.ok(first?.data.every((byte) => byte === 0xa));
  });

  test('the driver is notified of each late completion', async () => {
    const held = new Held();
    const loop = new BlockLoopback({ sizeBytes: SIZE, read: held.hold });
    loop.kick([blockRequest.read(0, 512), blockRequest.read(1, 512)]);
    assert.equal(loop.calls, 0);
    for (const { done } of held.calls) {
      const before: number = loop.calls;
      done();
      await turn();
      assert.equal(loop.calls, before + 1);
      loop.driver.harvest();
      loop.driver.queue.requestCalls();
    }
  });

  test('the pieces of one request are asked for at once, and it completes with the last', async () => {
    const held = new Held();
    const loop = new BlockLoopback({ sizeBytes: SIZE, read: held.hold });
    loop.kick([blockRequest.read(2, 1536)], { writable: [512, 512, 512] });
    assert.deepEqual(
      held.calls.map(({ offset, bytes }) => [offset, bytes.length]),
      [
        [1024, 512],
        [1536, 512],
        [2048, 512],
      ],
    );
    for (const { done } of held.calls.toReversed()) {
      assert.equal(loop.driver.harvest().length, 0);
      done();
      await turn();
    }
    assert.equal(loop.driver.harvest()[0]?.status, blk.VIRTIO_BLK_S_OK);
  });
});

suite('a store that fails', () => {
  /** Reads a request of two pieces of a sector each; returns its outcome. */
  async function failing(read: BlockStore['read']): Promise<{ outcome: unknown[]; lines: string[] }> {
    const store = { sizeBytes: SIZE, name: 'shaky', read };
    const loop = new BlockLoopback(store);
    const { status, usedLength } = await loop.request(blockRequest.read(4, 1024), { writable: [512] });
    // The queue goes on.
    assert.equal((await loop.request(blockRequest.getId())).status, blk.VIRTIO_BLK_S_OK);
    return { outcome: [status, usedLength], lines: loop.lines };
  }
  const LINE = 'store shaky: read at byte 2048 failed: no luck';
  const noLuck = (): never => fail(new Error('no luck'));

  test('throwing costs one request, and a line that names store, offset and cause', async () => {
    assert.deepEqual(await failing(noLuck), { outcome: [blk.VIRTIO_BLK_S_IOERR, 1], lines: [LINE] });
  });

  test('rejecting costs one request, and one line', async () => {
    assert.deepEqual(await failing(async () => noLuck()), { outcome: [blk.VIRTIO_BLK_S_IOERR, 1], lines: [LINE] });
  });

  test('a thrown value that is no Error is logged as it is', async () => {
    const { lines } = await failing(() => {
      throw 'plain words';
    });
    assert.deepEqual(lines, ['store shaky: read at byte 2048 failed: plain words']);
  });

  for (const how of ['throws', 'rejects']) {
    test(`regression: a store that ${how} for one piece while another is pending waits for it`, async () => {
      const held = new Held();
      let calls = 0;
      const read = (offset: number, bytes: Uint8Array): Promise<void> => {
        if (calls++ === 0) return held.hold(offset, bytes);
        if (how === 'throws') noLuck();
        return Promise.reject(new Error('no luck'));
      };
      const loop = new BlockLoopback({ sizeBytes: SIZE, read });
      loop.kick([blockRequest.read(0, 1024)], { writable: [512] });
      await turn();
      // The first piece may still be written to guest memory: the request must not complete yet.
      assert.equal(loop.driver.harvest().length, 0);
      // Its own failure must not become an unhandled rejection.
      held.calls[0]?.fail(new Error('too late'));
      const [result] = await loop.settle();
      assert.deepEqual([result?.status, result?.usedLength], [blk.VIRTIO_BLK_S_IOERR, 1]);
      assert.equal(loop.lines.length, 1);
    });
  }

  test('a failing flush fails the write it makes stable, in writethrough mode', async () => {
    const { store } = recordingStore();
    const loop = new BlockLoopback({ ...store, flush: noLuck }, { features: 0n });
    assert.equal((await loop.request(blockRequest.write(0, new Uint8Array(512)))).status, blk.VIRTIO_BLK_S_IOERR);
  });
});

suite('whole sectors', () => {
  const framings = [
    { name: 'in the middle of sectors', lengths: [100, 412, 500, 24] },
    { name: 'one byte into each sector', lengths: [1, 512, 512] },
    { name: 'a sector and a half', lengths: [768] },
    { name: 'in single bytes', lengths: Array.from({ length: 30 }, () => 1) },
  ];
  const all = Uint8Array.from({ length: 1536 }, (_, i) => i * 5 + (i >> 8));

  for (const { name, lengths } of framings) {
    for (const isAsync of [false, true]) {
      const how = isAsync ? ' (async)' : '';
      test(`regression: a store is given whole sectors when a driver cuts ${name}${how}`, async () => {
        const { store, asked } = recordingStore();
        const loop = new BlockLoopback({
          ...store,
          read: isAsync ? (offset, into) => turn().then(() => store.read(offset, into)) : store.read,
          write: isAsync ? (offset, from) => turn().then(() => store.write(offset, from)) : store.write,
        });
        const written = await loop.request(blockRequest.write(1, all), { readable: [16, ...lengths] });
        assert.deepEqual([written.status, written.usedLength], [blk.VIRTIO_BLK_S_OK, 1]);
        const read = await loop.request(blockRequest.read(1, all.length), { writable: lengths });
        assert.deepEqual([read.status, read.usedLength], [blk.VIRTIO_BLK_S_OK, all.length + 1]);
        assert.deepEqual(read.data, all);
        const moved = asked.map((line) => line.split(' ').slice(1).map(Number));
        assert.ok(
          moved.every(([offset = 1, length = 1]) => offset % 512 === 0 && length % 512 === 0),
          asked.join(),
        );
        assert.equal(
          moved.reduce((sum, [, length = 0]) => sum + length, 0),
          2 * all.length,
        );
      });
    }
  }

  test('a read that fails leaves the bytes of a cut sector alone', async () => {
    const loop = new BlockLoopback({ sizeBytes: SIZE, read: () => Promise.reject(new Error('no luck')) });
    const { data, status } = await loop.request(blockRequest.read(0, 512), { writable: [100] });
    assert.equal(status, blk.VIRTIO_BLK_S_IOERR);
    assert.ok(data.every((byte) => byte === UNWRITTEN));
  });
});

test('regression: a store that gives back what is no promise, as readSync and fill do, has answered', async () => {
  const given = [512, true, new Uint8Array(1), null, {}];
  for (const what of given) {
    const give = (): void => what as unknown as undefined;
    const loop = new BlockLoopback({ sizeBytes: SIZE, read: give, write: give, flush: give });
    for (const request of [blockRequest.read(0, 512), blockRequest.write(0, new Uint8Array(512)), blockRequest.flush()])
      loop.kick([request]);
    const statuses = loop.driver.harvest().map(({ status }) => status);
    assert.deepEqual(statuses, [blk.VIRTIO_BLK_S_OK, blk.VIRTIO_BLK_S_OK, blk.VIRTIO_BLK_S_OK], String(what));
  }
});

suite('a store whose answers are completions', () => {
  /** A store whose requests wait, the loop that the device gave it, and a driver that has sent four reads. */
  function waiting() {
    const listeners: CompletionListener[] = [];
    let loop: StoreLoop | undefined;
    const read = (): Completion => {
      const listen = (listener: CompletionListener): void => void listeners.push(listener);
      // biome-ignore lint/suspicious/noThenProperty: a Completion has one
      return { listen, then: () => assert.fail('the device needs no promise') };
    };
    const attach = (given: StoreLoop): void => {
      loop = given;
    };
    // Without EVENT_IDX the driver is notified whenever it is shown something.
    const disk = new BlockLoopback({ sizeBytes: SIZE, read, attach }, { features: 0n });
    const none = { [Symbol.dispose]: () => {} };
    const context = { watch: () => none, timer: () => none, soon: () => {}, log: () => {} };
    disk.device.attach({ ...context, configChanged: () => {}, needsReset: () => {} });
    disk.kick([0, 1, 2, 3].map((sector) => blockRequest.read(sector, 512)));
    return { disk, listeners, loop: loop as StoreLoop | undefined };
  }

  test('each finishes its request at once, with a notification', () => {
    const { disk, listeners } = waiting();
    for (const [at, error, status] of [
      [2, undefined, blk.VIRTIO_BLK_S_OK],
      [0, new Error('no such sector'), blk.VIRTIO_BLK_S_IOERR],
    ] as const) {
      const before = disk.calls;
      listeners[at]?.completed(error);
      assert.deepEqual([disk.driver.harvest().map((result) => result.status), disk.calls - before], [[status], 1]);
    }
  });

  test('the driver is shown those of a batch together, with one notification, also if the store throws', () => {
    const { disk, listeners, loop } = waiting();
    const before = disk.calls;
    assert.throws(
      () =>
        loop?.batch?.(() => {
          for (const listener of listeners.slice(0, 3)) listener.completed(undefined);
          assert.equal(disk.driver.harvest().length, 0);
          throw new Error('no luck');
        }),
      /no luck/,
    );
    assert.equal(disk.driver.harvest().length, 3);
    assert.equal(disk.calls - before, 1);
    listeners[3]?.completed(undefined);
    assert.equal(disk.driver.harvest().length, 1, 'the batch is over');
    assert.equal(disk.device.isSettled, true);
  });
});

suite('what comes next', () => {
  /** A device on a store with `prefetch`, and the calls of that store in order. */
  function foretelling(): { loop: BlockLoopback; asked: string[] } {
    const { store, asked } = recordingStore();
    const prefetch = (offsets: Float64Array, count: number): void =>
      void asked.push(`prefetch ${offsets.slice(0, count).join(' ')}`);
    return { loop: new BlockLoopback({ ...store, prefetch }), asked };
  }

  test('prefetch gets the offsets of a batch, those inside the disk, before the first request is served', () => {
    const { loop, asked } = foretelling();
    loop.kick([blockRequest.read(3, 512), blockRequest.read(SECTORS, 512), blockRequest.write(5, new Uint8Array(512))]);
    assert.deepEqual(asked, ['prefetch 1536 2560', 'read 1536 512', 'write 2560 512']);
  });

  test('prefetch gets no offset for a chain too short for a header', () => {
    const { loop, asked } = foretelling();
    loop.driver.queue.add([{ address: loop.memory.allocate(16), length: 15, writable: false }]);
    loop.kick([blockRequest.read(3, 512)]);
    assert.deepEqual(asked, ['prefetch 1536', 'read 1536 512']);
  });

  for (const [how, prefetch, cause] of [
    ['throws', () => fail(new Error('no luck')), 'no luck'],
    ['throws nothing at all', () => fail(undefined), 'undefined'],
    ['rejects', () => Promise.reject(new Error('no luck')) as unknown as undefined, 'no luck'],
  ] as const) {
    test(`regression: a store that ${how} in prefetch fails no request`, async () => {
      const { store } = recordingStore();
      const loop = new BlockLoopback({ ...store, prefetch });
      loop.kick([blockRequest.read(1, 512), blockRequest.read(2, 512)]);
      loop.kick([blockRequest.read(3, 512), blockRequest.read(4, 512)]);
      const statuses = loop.driver.harvest().map(({ status }) => status);
      assert.deepEqual(statuses, new Array(4).fill(blk.VIRTIO_BLK_S_OK));
      // An unhandled rejection would end the process.
      await turn();
      assert.deepEqual(loop.lines, new Array(2).fill(`store recorder: prefetch failed: ${cause}`));
    });
  }
});

suite('a disk that changes its size', () => {
  test('regression: a resize notifies the driver once, and changes the capacity for later requests', async () => {
    const { store } = recordingStore();
    const held = new Held();
    const loop = new BlockLoopback({ ...store, read: held.hold });
    loop.kick([blockRequest.read(SECTORS - 1, 512)]);
    loop.device.resize(SIZE / 2);
    loop.device.resize(SIZE / 2);
    assert.equal(loop.configChanges, 1);
    const config = new DataView(loop.device.config.bytes.buffer);
    assert.equal(config.getBigUint64(blk.CONFIG.capacity, true), BigInt(SECTORS / 2));
    loop.kick([blockRequest.read(SECTORS / 2, 512)]);
    assert.equal(loop.driver.harvest()[0]?.status, blk.VIRTIO_BLK_S_IOERR);
    // Requests in flight complete as before.
    held.calls[0]?.done();
    assert.equal((await loop.settle())[0]?.status, blk.VIRTIO_BLK_S_OK);
    loop.device.resize(SIZE);
    loop.kick([blockRequest.read(SECTORS / 2, 512)]);
    held.calls[1]?.done();
    assert.equal((await loop.settle())[0]?.status, blk.VIRTIO_BLK_S_OK);
  });
});

suite('the transport’s side', () => {
  test('the device ID is the serial, filled up with NULs', async () => {
    for (const [serial, expected] of [
      ['short', 'short'.padEnd(20, '\0')],
      ['exactly twenty bytes', 'exactly twenty bytes'],
    ] as const) {
      const loop = new BlockLoopback(recordingStore().store, { device: { serial } });
      assert.equal(new TextDecoder().decode((await loop.request(blockRequest.getId())).data), expected);
    }
  });

  test('it has as many queues as the option says, 64 by default', () => {
    const { store } = recordingStore();
    assert.equal(new BlockLoopback(store).device.queueSizes.length, 64);
    assert.equal(new BlockLoopback(store, { device: { queues: 3 } }).device.queueSizes.length, 3);
  });

  test('a driver may write the writeback field and nothing else, and of a disk with a cache only', () => {
    const { config } = new BlockLoopback(recordingStore().store).device;
    const { writeback } = blk.CONFIG;
    assert.equal(config.write?.(writeback, Uint8Array.of(0)), true);
    assert.equal(config.bytes[writeback], 0);
    assert.equal(config.write?.(writeback, Uint8Array.of(7)), true);
    assert.equal(config.bytes[writeback], 1);
    assert.equal(config.write?.(writeback, Uint8Array.of(0, 0)), false);
    assert.equal(config.write?.(blk.CONFIG.capacity, Uint8Array.of(0)), false);
    const { flush: _, ...uncached } = recordingStore().store;
    const other = new BlockLoopback(uncached).device.config;
    assert.equal(other.write?.(writeback, Uint8Array.of(1)), false);
    assert.equal(other.bytes[writeback], 0);
  });

  test('a reset takes the cache mode back', () => {
    const { device } = new BlockLoopback(recordingStore().store);
    device.config.write?.(blk.CONFIG.writeback, Uint8Array.of(0));
    device.reset();
    assert.equal(device.config.bytes[blk.CONFIG.writeback], 1);
  });

  test('regression: the cache mode that the driver chose holds, before and after it starts the device again', async () => {
    const write = blockRequest.write(0, new Uint8Array(512));
    const { store, asked } = recordingStore();
    const loop = new BlockLoopback(store);
    const { device } = loop;
    device.config.write?.(blk.CONFIG.writeback, Uint8Array.of(0));
    for (const features of [device.features, blk.VIRTIO_BLK_F_FLUSH, device.features]) {
      loop.start(features);
      assert.equal(device.config.bytes[blk.CONFIG.writeback], 0);
      asked.length = 0;
      await loop.request(write);
      assert.deepEqual(asked, ['write 0 512', 'flush']);
    }
    // Without FLUSH a completed write has to be durable in any cache mode; afterwards the chosen mode applies again.
    device.config.write?.(blk.CONFIG.writeback, Uint8Array.of(1));
    for (const [features, expected] of [
      [0n, ['write 0 512', 'flush']],
      [device.features, ['write 0 512']],
    ] as const) {
      loop.start(features);
      assert.equal(device.config.bytes[blk.CONFIG.writeback], 1);
      asked.length = 0;
      await loop.request(write);
      assert.deepEqual(asked, expected);
    }
  });

  test('it counts the bytes it moved', async () => {
    const loop = new BlockLoopback(recordingStore().store);
    await loop.request(blockRequest.read(0, 1024));
    await loop.request(blockRequest.write(0, new Uint8Array(512)));
    await loop.request(blockRequest.read(SECTORS, 512));
    assert.deepEqual(loop.device.bytes, { read: 1024, written: 512 });
  });
});
