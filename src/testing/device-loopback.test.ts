// DeviceLoopback: what a driver can do with it, and how it reports a misbehaving device.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { DeviceContext, VirtioDevice } from '../virtio/device.ts';
import type { DeviceQueue } from '../virtio/device-queue.ts';
import { VIRTIO_F_VERSION_1 } from '../virtio/spec.ts';
import { UNWRITTEN } from './chain-driver.ts';
import { DeviceLoopback } from './device-loopback.ts';

/** Writes back the bytes that it reads, and records its calls. */
class EchoDevice implements VirtioDevice {
  readonly type = 42;
  readonly features = 5n;
  readonly queueSizes = [8, 64];
  readonly #bytes = new Uint8Array(4);
  readonly config = {
    bytes: this.#bytes,
    write: (offset: number, bytes: Uint8Array): boolean => {
      if (offset !== 0) return false;
      this.#bytes.set(bytes);
      return true;
    },
  };
  readonly told: unknown[] = [];
  context: DeviceContext | undefined;

  start(features: bigint, context: DeviceContext): void {
    this.told.push(features);
    this.context = context;
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain((chain) => {
      const bytes = new Uint8Array(chain.readable.totalBytes);
      chain.readable.copyTo(bytes);
      queue.markUsed(chain, chain.writable.copyFrom(bytes));
    });
  }

  reset(): void {
    this.told.push('reset');
    this.#bytes.fill(0);
  }

  close(): void {
    this.told.push('close');
  }
}

const words = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

suite('a driver', () => {
  test('makes requests on every queue, in any pieces', async () => {
    await using loop = await DeviceLoopback.start(new EchoDevice());
    for (const queue of loop.queues) {
      for (const indirectFrom of [0, 1, undefined]) {
        const pieces = { readable: [words(1), words(), words(2, 3)], writable: [2, words(7, 8)] };
        const used = await queue.request({ ...pieces, ...(indirectFrom !== undefined && { indirectFrom }) });
        assert.deepEqual([used.written, [...used.bytes]], [3, [1, 2, 3, 8]]);
      }
      const { written, bytes } = await queue.request({ writable: [2] });
      assert.deepEqual([written, [...bytes]], [0, [UNWRITTEN, UNWRITTEN]]);
      assert.equal(queue.inFlight, 0);
    }
  });

  test('wraps around its ring, from any start index', async () => {
    await using loop = await DeviceLoopback.start(new EchoDevice(), { size: 4, start: 0xfffe });
    const [queue] = loop.queues;
    for (let i = 0; i < 20; i++) {
      const { bytes } = await queue!.request({ readable: [words(i)], writable: [1] });
      assert.deepEqual([...bytes], [i]);
    }
    assert.equal(queue?.ring.usedIndex, 18);
  });

  test('waits for several chains, in the order of completion, without those of `request`', async () => {
    await using loop = await DeviceLoopback.start(new EchoDevice());
    const [queue] = loop.queues;
    const heads = [1, 2].map((byte) => queue!.add({ readable: [words(byte)], writable: [1] }));
    const named = await queue!.request({ readable: [words(3)], writable: [1] });
    assert.deepEqual([...named.bytes], [3]);
    assert.deepEqual(
      (await queue!.used(2)).map(({ head }) => head),
      heads,
    );
    assert.deepEqual(queue!.harvest(), []);
  });

  test('chooses features, and rings are as long as it and the device allow', async () => {
    const device = new EchoDevice();
    await using loop = await DeviceLoopback.start(device, { features: VIRTIO_F_VERSION_1 | 4n, size: 32 });
    assert.deepEqual(device.told, [VIRTIO_F_VERSION_1 | 4n]);
    assert.deepEqual(
      loop.queues.map(({ ring }) => ring.size),
      [8, 32],
    );
    const [queue] = loop.queues;
    for (let i = 0; i < 3; i++) await queue!.request({ readable: [words(i)] });
    assert.ok(queue!.calls >= 3, 'without EVENT_IDX it is notified of each');
  });

  test('reads the configuration space and writes where the device allows it', async () => {
    await using loop = await DeviceLoopback.start(new EchoDevice());
    assert.equal(await loop.writeConfig(0, words(0x34, 0x12)), true);
    assert.equal(await loop.writeConfig(1, words(1)), false);
    assert.equal(loop.config().getUint32(0, true), 0x1234);
  });

  test('is notified of changes, and that the device needs a reset', async () => {
    const device = new EchoDevice();
    await using loop = await DeviceLoopback.start(device);
    device.context?.configChanged();
    device.context?.needsReset('it burns');
    assert.deepEqual([loop.configChanges, loop.needsReset], [1, true]);
    assert.deepEqual(loop.lines, ['the device needs a reset: it burns']);
    await loop.reset();
    assert.equal(loop.needsReset, false);
  });
});

suite('a machine', () => {
  test('pauses and goes on: requests placed meanwhile are served then, once', async () => {
    await using loop = await DeviceLoopback.start(new EchoDevice());
    const [queue] = loop.queues;
    await queue!.request({ writable: [1] });
    await loop.pause();
    assert.equal(await queue!.stop(), undefined, 'it has stopped');
    const later = queue!.request({ readable: [words(9)], writable: [1] });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(queue!.ring.hasUsed(), false);
    await loop.resume();
    await loop.resume();
    assert.deepEqual([...(await later).bytes], [9]);
    assert.equal((await queue!.stop())?.base, 2);
  });

  test('resets: memory is zero, rings are empty, and the device is as it was made', async () => {
    const device = new EchoDevice();
    await using loop = await DeviceLoopback.start(device);
    const [queue] = loop.queues;
    await loop.writeConfig(0, words(1));
    queue!.add({ readable: [words(9)] });
    await loop.reset(VIRTIO_F_VERSION_1);
    assert.equal(loop.config().getUint32(0), 0);
    assert.deepEqual(device.told.slice(1), ['reset', VIRTIO_F_VERSION_1]);
    assert.deepEqual([queue!.inFlight, queue!.ring.availableIndex], [0, 0]);
    assert.deepEqual([...(await queue!.request({ readable: [words(4)], writable: [1] })).bytes], [4]);
  });

  test('ends: the device is closed, once, after its queues', async () => {
    const device = new EchoDevice();
    {
      await using _ = await DeviceLoopback.start(device);
    }
    assert.equal(device.told.at(-1), 'close');
  });
});

suite('a misbehaving device', () => {
  test('throws: waiting requests reject with the logged line, and the other queue goes on', async () => {
    const device = new EchoDevice();
    const { process } = device;
    device.process = (index, queue) => {
      if (index === 0) throw new Error('what a pity');
      process.call(device, index, queue);
    };
    await using loop = await DeviceLoopback.start(device);
    const [queue, other] = loop.queues;
    const line = /^queue 0 stopped until the driver resets it: the device failed: what a pity$/;
    await assert.rejects(queue!.request({ writable: [1] }), { message: line });
    await assert.rejects(queue!.used(), { message: line });
    assert.equal(queue!.isBroken, true);
    await other!.request({ writable: [1] });
    device.process = process;
    await loop.reset();
    assert.equal(queue!.isBroken, false);
    await queue!.request({ writable: [1] });
  });

  test('reports more bytes than the chain has: the driver throws', async () => {
    const device = new EchoDevice();
    device.process = (_, queue) => queue.drain((chain) => queue.markUsed(chain, 2));
    await using loop = await DeviceLoopback.start(device);
    await assert.rejects(loop.queues[0]!.request({ writable: [1] }), /used length 2 of chain 0, which has 1/);
  });

  test('lacks members: one clear error, and nothing stays open', async () => {
    await assert.rejects(DeviceLoopback.start({ type: 1 } as VirtioDevice), /features is missing/);
  });

  test('throws at its start: so does DeviceLoopback.start', async () => {
    const device = new EchoDevice();
    device.start = () => {
      throw new Error('not today');
    };
    await assert.rejects(DeviceLoopback.start(device), /not today/);
  });
});
