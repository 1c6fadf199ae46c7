// §5.4 Entropy Device, clause by clause.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { RngDevice } from '../../src/devices/rng/rng-device.ts';
import { UNWRITTEN } from '../../src/testing/chain-driver.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';

const KIB = 1024;
const MOST = 64 * KIB;

/** Counts: byte n of what it has filled is n. What it did not fill shows. */
function counting(): (bytes: Uint8Array) => void {
  let count = 0;
  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = count++;
  };
}

const counted = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i);
const requestq = (loop: DeviceLoopback): LoopbackQueue => loop.queues[0] as LoopbackQueue;

test('§5.4.1 the device ID is 4', () => assert.equal(new RngDevice().type, 4));
test('§5.4.2 there is one queue', () => assert.equal(new RngDevice().queueSizes.length, 1));
test('§5.4.3 there are no feature bits', () => assert.equal(new RngDevice().features, 0n));

test('§5.4.4 there is no configuration space', async () => {
  await using loop = await DeviceLoopback.start(new RngDevice());
  assert.equal(loop.config().byteLength, 0);
  assert.equal(await loop.writeConfig(0, Uint8Array.of(1)), false);
});

suite('§5.4.6 device operation', () => {
  test('§5.4.6 a buffer is completely filled by random data', async () => {
    await using loop = await DeviceLoopback.start(new RngDevice());
    const answers = [
      await requestq(loop).request({ writable: [4 * KIB] }),
      await requestq(loop).request({ writable: [4 * KIB] }),
    ];
    for (const { written, bytes } of answers) {
      assert.equal(written, 4 * KIB);
      // Of 4096 random bytes some 227 distinct values are all but certain, and 100 are beyond doubt.
      assert.ok(new Set(bytes).size > 100);
    }
    assert.notDeepEqual(answers[0]?.bytes, answers[1]?.bytes);
  });

  test('§5.4.6 the data are those of the source, in order, however the driver cuts its buffer', async () => {
    await using loop = await DeviceLoopback.start(new RngDevice(counting()));
    const { written, bytes } = await requestq(loop).request({ writable: [1, 0, 4095, 3, 500] });
    assert.equal(written, 4599);
    assert.deepEqual(bytes, counted(4599));
  });

  test('§5.4.6 one or more buffers are in the queue: each is used once', async () => {
    await using loop = await DeviceLoopback.start(new RngDevice(counting()));
    const queue = requestq(loop);
    const heads = [10, 20, 30].map((length) => queue.add({ writable: [length] }));
    queue.kick();
    const used = await queue.used(3);
    assert.deepEqual(
      used.map(({ head, written }) => [head, written]),
      heads.map((head, i) => [head, 10 * (i + 1)]),
    );
  });

  test('§5.4.6.1 device-readable bytes, which a driver MUST NOT place, are not looked at and do no harm', async () => {
    const seen: number[] = [];
    const device = new RngDevice((bytes) => {
      seen.push(bytes.length);
      bytes.fill(1);
    });
    await using loop = await DeviceLoopback.start(device);
    const queue = requestq(loop);
    const readable = [new Uint8Array(64).fill(7)];
    assert.equal((await queue.request({ readable })).written, 0);
    const { written, bytes } = await queue.request({ readable, writable: [8] });
    assert.deepEqual([written, [...bytes]], [8, [1, 1, 1, 1, 1, 1, 1, 1]]);
    assert.deepEqual(seen, [8]);
    assert.equal(queue.isBroken, false);
  });

  test('§5.4.6.2 a long buffer is used in part, and the used length is that part: one request takes 64 KiB at most', async () => {
    await using loop = await DeviceLoopback.start(new RngDevice(counting()));
    const { written, bytes } = await requestq(loop).request({ writable: [MOST - 1, 3, 4 * KIB] });
    assert.equal(written, MOST);
    assert.deepEqual(bytes.subarray(0, MOST), counted(MOST));
    assert.ok(bytes.subarray(MOST).every((byte) => byte === UNWRITTEN));
  });

  test('§5.4.6.2 a buffer without room is used with length 0, and the next is served', async () => {
    await using loop = await DeviceLoopback.start(new RngDevice());
    assert.equal((await requestq(loop).request({ writable: [0] })).written, 0);
    assert.equal((await requestq(loop).request({ writable: [1] })).written, 1);
  });
});

suite('§5.4.6.2 "MUST place one or more random bytes into the buffer", whatever the source does', () => {
  const failures: Record<string, (bytes: Uint8Array) => unknown> = {
    throws: () => {
      throw new Error('no luck');
    },
    rejects: async (bytes) => {
      bytes.fill(0);
      throw new Error('no luck');
    },
    'fails for one piece of several': (bytes) =>
      bytes.length === 7 ? Promise.reject(new Error('no luck')) : undefined,
  };
  for (const [what, fill] of Object.entries(failures)) {
    test(`regression: a source that ${what}: the kernel's generator fills the buffer, and a line is logged`, async () => {
      await using loop = await DeviceLoopback.start(new RngDevice(fill));
      const { written, bytes } = await requestq(loop).request({ writable: [KIB, 7, KIB] });
      assert.equal(written, 2 * KIB + 7);
      assert.ok(new Set(bytes).size > 100);
      assert.deepEqual(loop.lines, ["the source of random numbers failed, the kernel's is used instead: no luck"]);
      assert.equal(requestq(loop).isBroken, false);
    });
  }

  test('a slow source: requests come back when it answers, and one that waits holds up no other', async () => {
    const waiting: { bytes: Uint8Array; done: () => void }[] = [];
    const device = new RngDevice((bytes) => new Promise<void>((done) => waiting.push({ bytes, done })));
    await using loop = await DeviceLoopback.start(device);
    const queue = requestq(loop);
    const heads = [queue.add({ writable: [4, 4] }), queue.add({ writable: [4] })];
    const first = queue.request({ writable: [4] });
    while (waiting.length < 4) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(queue.harvest(), []);
    for (const { bytes, done } of waiting.toReversed()) {
      bytes.fill(5);
      done();
    }
    assert.deepEqual([...(await first).bytes], [5, 5, 5, 5]);
    const rest = await queue.used(2);
    assert.deepEqual(new Set(rest.map(({ head }) => head)), new Set(heads));
    assert.ok(rest.every(({ bytes }) => bytes.every((byte) => byte === 5)));
  });

  test('a queue that stops waits for the source: afterwards nothing touches memory', async () => {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const device = new RngDevice((bytes) => {
      asked.resolve();
      return answer.promise.then(() => bytes.fill(9));
    });
    await using loop = await DeviceLoopback.start(device);
    const queue = requestq(loop);
    queue.add({ writable: [16] });
    queue.kick();
    await asked.promise;
    let isStopped = false;
    const stop = loop.pause().then(() => {
      isStopped = true;
    });
    await new Promise((turn) => setImmediate(turn));
    assert.equal(isStopped, false);
    answer.resolve();
    await stop;
    assert.deepEqual(queue.harvest()[0]?.bytes, new Uint8Array(16).fill(9));
  });
});

suite('a limit of bytes a second', () => {
  test('a driver that always asks for more never gets more than the burst and the rate, and goes on', async () => {
    const [rate, burst] = [4000, 0.25];
    const device = new RngDevice(undefined, { bytesPerSecond: rate, burstSeconds: burst });
    const startedMs = performance.now();
    await using loop = await DeviceLoopback.start(device);
    let total = 0;
    for (let i = 0; i < 12; i++) {
      const { written } = await requestq(loop).request({ writable: [64 * KIB] });
      assert.ok(written >= 1, '"MUST place one or more random bytes into the buffer"');
      total += written;
      const most = rate * (burst + (performance.now() - startedMs) / 1000);
      assert.ok(total <= most, `${total} bytes, and at most ${most} are allowed`);
    }
  });

  test('buffers that wait stay in the ring: a queue stops at once, and a reset does not lift the limit', async () => {
    const startedMs = performance.now();
    const device = new RngDevice(undefined, { bytesPerSecond: 1, burstSeconds: 16 });
    await using loop = await DeviceLoopback.start(device);
    const queue = requestq(loop);
    assert.equal((await queue.request({ writable: [64] })).written, 16);
    for (let i = 0; i < 4; i++) queue.add({ writable: [64] });
    queue.kick();
    await new Promise((turn) => setImmediate(turn));
    await loop.pause();
    assert.deepEqual(queue.harvest(), []);
    await loop.reset();
    const { written } = await queue.request({ writable: [64] });
    assert.ok(written <= (performance.now() - startedMs) / 1000, `${written} bytes more`);
  });

  test('while it waits, the device sleeps: the source is asked only for what may be given out', async () => {
    let calls = 0;
    const device = new RngDevice(() => calls++, { bytesPerSecond: 20_000, burstSeconds: 0.1 });
    const startedMs = performance.now();
    await using loop = await DeviceLoopback.start(device);
    for (let i = 0; i < 5; i++) await requestq(loop).request({ writable: [64 * KIB] });
    assert.equal(calls, 5, 'a call for each buffer');
    assert.ok(performance.now() - startedMs >= (4 * (1000 * 0.1)) / 20 - 5);
  });

  for (const bytesPerSecond of [0, -1, 1.5, Number.NaN, 2 ** 41])
    test(`${bytesPerSecond} bytes a second are refused`, () => {
      assert.throws(() => new RngDevice(undefined, { bytesPerSecond }), /bytesPerSecond is .*: a whole number from 1/);
    });
  test('a burst of 0 seconds is refused', () => {
    assert.throws(() => new RngDevice(undefined, { bytesPerSecond: 1, burstSeconds: 0 }), /burstSeconds is 0/);
  });
});
