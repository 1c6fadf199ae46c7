// DriverQueue on its own: what it writes into the ring, word by word, and how it detects a device that breaks the
// rules.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { VIRTIO_F_EVENT_IDX } from '../virtio/spec.ts';
import { DriverMemory } from './driver-memory.ts';
import { DeviceError, type DriverBuffer, DriverQueue, type DriverQueueOptions } from './driver-queue.ts';

const BASE = 0x1_0000_1000;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

function newQueue(options: Partial<DriverQueueOptions> = {}): { queue: DriverQueue; memory: DriverMemory } {
  const memory = new DriverMemory(new Uint8Array(4096), BASE);
  return { queue: new DriverQueue(memory, { size: 4, ...options }), memory };
}

const readable = (length: number): DriverBuffer => ({ address: BASE + 0x800, length, writable: false });
const writable = (length: number): DriverBuffer => ({ address: BASE + 0x900, length, writable: true });

/** Writes a used element, as a device does. */
function use(queue: DriverQueue, head: number, usedLength: number): void {
  const { deviceArea } = queue.layout;
  const view = new DataView(deviceArea.buffer, deviceArea.byteOffset);
  const index = queue.used[1] as number;
  view.setUint32(4 + 8 * (index % queue.size), head, true);
  view.setUint32(8 + 8 * (index % queue.size), usedLength, true);
  queue.used[1] = index + 1;
}

function harvest(queue: DriverQueue, limit?: number): [number, number][] {
  const seen: [number, number][] = [];
  queue.harvest((head, length) => seen.push([head, length]), limit);
  return seen;
}

suite('placing', () => {
  test('a direct chain is laid out as §2.7.5 says', () => {
    const { queue } = newQueue();
    const head = queue.add([readable(16), writable(512), writable(1)]);
    assert.equal(head, 0);
    const [low, high] = [BASE % 2 ** 32, 1];
    assert.deepEqual(
      [...queue.descriptors.subarray(0, 12)],
      [low + 0x800, high, 16, NEXT | (1 << 16)]
        .concat([low + 0x900, high, 512, NEXT | WRITE | (2 << 16)])
        .concat([low + 0x900, high, 1, WRITE]),
    );
    assert.equal(queue.available[1], 0);
    queue.publish();
    assert.deepEqual([...queue.available.subarray(0, 3)], [0, 1, 0]);
    assert.equal(queue.freeDescriptors, 1);
  });

  test('the elements from `indirectFrom` on are in an indirect table', () => {
    const { queue, memory } = newQueue({ indirectMax: 3 });
    queue.add([readable(16), writable(512), writable(1)], 1);
    assert.equal(queue.freeDescriptors, 2);
    assert.equal((queue.descriptors[3] as number) & 0xffff, NEXT);
    const [low, high, length, flags] = queue.descriptors.subarray(4, 8) as unknown as [number, number, number, number];
    assert.deepEqual([length, flags], [32, INDIRECT]);
    const table = memory.slice(low + high * 2 ** 32, length);
    const words = new Uint32Array(table.buffer, table.byteOffset, 8);
    assert.deepEqual([...words.subarray(2, 4)], [512, WRITE | NEXT | (1 << 16)]);
    assert.deepEqual([...words.subarray(6, 8)], [1, WRITE]);
  });

  test('chains that are empty, or do not fit, are refused', () => {
    const { queue } = newQueue({ indirectMax: 1 });
    assert.throws(() => queue.add([]), /a chain of 0 descriptors/);
    queue.add([readable(1), readable(1), readable(1)]);
    assert.throws(() => queue.add([readable(1), readable(1)]), /a chain of 2 descriptors, 1 are free/);
    assert.throws(() => queue.add([readable(1), readable(1)], 0), /2 descriptors for an indirect table of 1/);
  });

  test('writeDescriptor writes any values', () => {
    const { queue } = newQueue();
    queue.writeDescriptor(3, 2 ** 63, 0xffff_ffff, 0xffff, 0x1234);
    assert.deepEqual([...queue.descriptors.subarray(12)], [0, 0x8000_0000, 0xffff_ffff, 0x1234_ffff]);
  });
});

suite('harvesting', () => {
  test('completions are taken in the order of the used ring, and free their descriptors', () => {
    const { queue } = newQueue({ start: 0xffff });
    const first = queue.add([readable(16), writable(1)]);
    const second = queue.add([writable(4)]);
    queue.publish();
    assert.equal(queue.hasUsed(), false);
    use(queue, second, 4);
    use(queue, first, 1);
    assert.equal(queue.hasUsed(), true);
    assert.deepEqual(harvest(queue, 1), [[second, 4]]);
    assert.deepEqual(harvest(queue), [[first, 1]]);
    assert.equal(queue.freeDescriptors, 4);
    assert.deepEqual([queue.usedIndex, queue.availableIndex], [1, 1]);
  });

  test('descriptors that were freed out of order are used again', () => {
    const { queue } = newQueue();
    const heads = [0, 1, 2, 3].map(() => queue.add([writable(1)]));
    queue.publish();
    for (const head of [2, 0]) use(queue, heads[head] as number, 1);
    harvest(queue);
    assert.deepEqual(new Set([queue.add([writable(1)]), queue.add([writable(1)])]), new Set([0, 2]));
  });

  for (const [name, head, length, message] of [
    ['a chain that is not in flight', 2, 0, /chain 2, which is not in flight/],
    ['a chain that cannot be', 77, 0, /chain 77, which is not in flight/],
    ['more bytes than there are', 0, 5, /used length 5 of chain 0, which has 4 bytes/],
  ] as const) {
    test(`a device that completes ${name} is detected`, () => {
      const { queue } = newQueue();
      queue.add([readable(16), writable(4)]);
      queue.publish();
      use(queue, head, length);
      assert.throws(
        () => harvest(queue),
        (error) => error instanceof DeviceError && message.test(error.message),
      );
    });
  }

  test('a device that completes the same chain twice, or more chains than there are, is detected', () => {
    const { queue } = newQueue();
    const head = queue.add([writable(4)]);
    queue.publish();
    use(queue, head, 4);
    use(queue, head, 4);
    assert.throws(() => harvest(queue), /not in flight/);
    queue.used[1] = 100;
    assert.throws(() => harvest(queue), /completions on a queue of 4/);
  });
});

suite('notifications', () => {
  test('with flags, a kick is needed unless the device set NO_NOTIFY, and only for new chains', () => {
    const { queue } = newQueue();
    assert.equal(queue.needsKick(), false);
    queue.add([writable(1)]);
    queue.publish();
    assert.equal(queue.needsKick(), true);
    assert.equal(queue.needsKick(), false);
    queue.used[0] = 1;
    queue.add([writable(1)]);
    queue.publish();
    assert.equal(queue.needsKick(), false);
  });

  test('with EVENT_IDX, a kick is needed when the index passes avail_event', () => {
    const { queue } = newQueue({ features: VIRTIO_F_EVENT_IDX, start: 0xfffe });
    const event = 2 + 4 * queue.size;
    queue.used[0] = 1; // to be ignored
    for (const [at, count, wanted] of [
      [0xfffe, 1, true],
      [0xfffe, 1, false],
      [1, 2, true],
    ] as const) {
      queue.used[event] = at;
      for (let i = 0; i < count; i++) queue.add([writable(1)]);
      queue.publish();
      assert.equal(queue.needsKick(), wanted, `${at}`);
    }
  });

  test('with flags, calls are requested with a flag', () => {
    const { queue } = newQueue();
    queue.suppressCalls();
    assert.equal(queue.available[0], 1);
    assert.equal(queue.requestCalls(), false);
    assert.equal(queue.available[0], 0);
    use(queue, queue.add([writable(1)]), 1);
    assert.equal(queue.requestCalls(), true);
  });

  test('with EVENT_IDX, calls are requested with an index, and the flag stays 0', () => {
    const { queue } = newQueue({ features: VIRTIO_F_EVENT_IDX, start: 0xffff });
    const event = 2 + queue.size;
    assert.equal(queue.available[event], 0xffff);
    assert.equal(queue.requestCalls(1), false);
    assert.equal(queue.available[event], 0);
    use(queue, queue.add([writable(1)]), 1);
    assert.equal(queue.requestCalls(1), false);
    assert.equal(queue.requestCalls(), true);
    queue.suppressCalls();
    assert.deepEqual([queue.available[0], queue.available[event]], [0, 0xfffe]);
  });
});
