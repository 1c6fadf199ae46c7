// §2.7 Split Virtqueues, clause by clause: what the device must do, and what it survives of a driver that does not.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { type DriverBuffer, DriverQueue } from '../../src/testing/driver-queue.ts';
import { unofferedFeatures } from '../../src/virtio/device.ts';
import type { ServeChain } from '../../src/virtio/device-queue.ts';
import { DriverError } from '../../src/virtio/errors.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { RunnableQueue } from '../../src/virtio/ring-format.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../src/virtio/spec.ts';
import { splitFormat, splitQueueBytes } from '../../src/virtio/split/split-format.ts';
import { pattern } from '../reference/array-store.ts';
import { type Access, watchAtomics } from '../reference/atomics-watch.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const DATA_AT = 0x800;

class Rig {
  readonly memory = new DriverMemory(new Uint8Array(4096));
  readonly driver: DriverQueue;
  readonly queue: RunnableQueue;
  calls = 0;
  /** What each chain the device got had: bytes it may read, bytes it may write. */
  readonly served: [number, number][] = [];

  constructor(features = VIRTIO_F_INDIRECT_DESC, size = 8, start = 0) {
    this.driver = new DriverQueue(this.memory, { size, features, start, indirectMax: 4 });
    this.memory.bytes.set(pattern(4096 - DATA_AT), DATA_AT);
    const notify = (): void => {
      this.calls++;
    };
    const options = { features, base: start, notify, again: () => {} };
    this.queue = splitFormat.open(size, this.driver.layout, new GuestMemory([this.memory]), options);
  }

  readonly #serve: ServeChain = (chain, queue) => {
    const { readable, writable } = chain;
    this.served.push([readable.totalBytes, writable.totalBytes]);
    queue.markUsed(chain, writable.copyFrom(new Uint8Array(writable.totalBytes).fill(0x99)));
  };

  drain(): number {
    const { base } = this.queue;
    this.queue.drain(this.#serve);
    return (this.queue.base - base) & 0xffff;
  }

  /** Makes the chain at `head` available, whatever is there. */
  offer(head: number): void {
    const { available, size } = this.driver;
    const index = available[1] as number;
    available[2 + (index & (size - 1))] = head;
    available[1] = index + 1;
  }

  refuses(clause: string): void {
    assert.throws(
      () => this.drain(),
      (error) => error instanceof DriverError && error.clause === clause,
    );
    assert.deepEqual(this.served, []);
    assert.equal(this.driver.used[1], 0, 'a request that is none does not come back');
  }
}

const readable = (length: number, at = DATA_AT): DriverBuffer => ({ address: at, length, writable: false });
const writable = (length: number, at = DATA_AT + 0x400): DriverBuffer => ({ address: at, length, writable: true });

suite('§2.7.4 message framing', () => {
  test('§2.7.4.1 the device makes no assumption about the arrangement of descriptors', () => {
    const rig = new Rig();
    const whole = [readable(24), writable(40)];
    const cut = [readable(1), readable(22, DATA_AT + 1), readable(1, DATA_AT + 23), writable(39), writable(1, 0xfff)];
    rig.driver.add(whole);
    rig.driver.add(cut, 1);
    rig.driver.publish();
    rig.drain();
    assert.deepEqual(rig.served, [
      [24, 40],
      [24, 40],
    ]);
  });

  test('§2.7.4.2 a device-readable descriptor after a device-writable one is the driver’s mistake', () => {
    const rig = new Rig();
    rig.driver.add([writable(4), readable(4)]);
    rig.driver.publish();
    rig.refuses('§2.7.4.2');
  });
});

suite('§2.7.5 the descriptor table', () => {
  test('§2.7.5.1 the device writes to no device-readable buffer and to no descriptor table entry', () => {
    const rig = new Rig();
    rig.driver.add([readable(64), writable(32)]);
    rig.driver.add([readable(64), writable(32)], 0);
    rig.driver.publish();
    const { deviceArea } = rig.driver.addresses;
    const isOurs = (at: number): boolean =>
      (at >= deviceArea && at < deviceArea + splitQueueBytes(8).deviceArea) || (at >= 0xc00 && at < 0xc20);
    const before = rig.memory.bytes.slice();
    rig.drain();
    rig.memory.bytes.forEach((byte, at) => {
      assert.ok(isOurs(at) || byte === before[at], `byte ${at}`);
    });
    assert.ok(rig.memory.slice(0xc00, 0x20).every((byte) => byte === 0x99));
  });

  test('§2.7.5.1 the device does not read a device-writable buffer', () => {
    const rig = new Rig();
    const head = rig.driver.add([writable(32)]);
    rig.driver.publish();
    const { getUint32 } = DataView.prototype;
    const read: number[] = [];
    DataView.prototype.getUint32 = function (this: DataView, at: number, little?: boolean) {
      read.push(this.byteOffset + at);
      return getUint32.call(this, at, little);
    };
    try {
      rig.drain();
    } finally {
      DataView.prototype.getUint32 = getUint32;
    }
    const entry = rig.driver.addresses.descriptorArea + 16 * head;
    assert.deepEqual(read, [entry, entry + 4, entry + 8, entry + 12]);
  });

  test('§2.7.5.2 a loop is a chain longer than 2^32 bytes, and the driver’s mistake', () => {
    const rig = new Rig();
    rig.driver.writeDescriptor(0, DATA_AT, 4, NEXT, 1);
    rig.driver.writeDescriptor(1, DATA_AT, 4, NEXT, 0);
    rig.offer(0);
    rig.refuses('§2.7.5.2');
  });

  test('§2.7.5 a buffer outside the driver’s memory is its mistake', () => {
    const rig = new Rig();
    rig.driver.writeDescriptor(0, 4000, 100, 0, 0);
    rig.offer(0);
    rig.refuses('§2.7.5');
  });

  test('§2.7.5.3.1 INDIRECT without having negotiated it is the driver’s mistake', () => {
    const rig = new Rig(0n);
    rig.driver.add([readable(4)], 0);
    rig.driver.publish();
    rig.refuses('§2.7.5.3.1');
  });

  test('§2.7.5.3.1 an indirect table in an indirect table is the driver’s mistake', () => {
    const rig = new Rig();
    const head = rig.driver.add([readable(4)], 0);
    const table = rig.driver.descriptors[4 * head] as number;
    rig.memory.slice(table + 12, 1)[0] = INDIRECT;
    rig.driver.publish();
    rig.refuses('§2.7.5.3.1');
  });

  test('§2.7.5.3.1 INDIRECT and NEXT together are the driver’s mistake', () => {
    const rig = new Rig();
    const head = rig.driver.add([readable(4)], 0);
    rig.driver.descriptors[4 * head + 3] = INDIRECT | NEXT | (1 << 16);
    rig.driver.publish();
    rig.refuses('§2.7.5.3.1');
  });

  test('§2.7.5.3.1 a chain longer than the queue is the driver’s mistake', () => {
    const rig = new Rig(0n, 2);
    rig.driver.writeDescriptor(0, DATA_AT, 0, NEXT, 1);
    rig.driver.writeDescriptor(1, DATA_AT, 0, NEXT, 0);
    rig.offer(0);
    rig.refuses('§2.7.5.2');
  });

  test('§2.7.5.3.2 the device ignores the WRITE flag of a descriptor that refers to an indirect table', () => {
    for (const flag of [0, WRITE]) {
      const rig = new Rig();
      const head = rig.driver.add([readable(7), writable(5)], 0);
      rig.driver.descriptors[4 * head + 3] = INDIRECT | flag;
      rig.driver.publish();
      rig.drain();
      assert.deepEqual(rig.served, [[7, 5]]);
    }
  });

  test('§2.7.5.3.2 the device handles zero or more normal descriptors followed by one that is INDIRECT', () => {
    const rig = new Rig();
    const buffers = [readable(1), readable(2), writable(3), writable(4)];
    for (const indirectFrom of [0, 1, 2, 3]) {
      rig.driver.add(buffers, indirectFrom);
      rig.driver.publish();
      rig.drain();
      rig.driver.harvest((_, usedLength) => assert.equal(usedLength, 7));
    }
    assert.deepEqual(
      rig.served,
      Array.from({ length: 4 }, () => [3, 7]),
    );
  });
});

suite('§2.7.6 the available ring', () => {
  test('§2.7.6.1 an available index that goes backwards is the driver’s mistake', () => {
    const rig = new Rig();
    rig.driver.available[1] = 0xffff;
    rig.refuses('§2.7.13');
  });

  test('§2.7.13 an available index more than a queue ahead is the driver’s mistake', () => {
    const rig = new Rig();
    rig.driver.available[1] = 9;
    rig.refuses('§2.7.13');
  });

  test('§2.7.13.2 a head outside the descriptor table is the driver’s mistake', () => {
    for (const head of [8, 0x7fff, 0xffff]) {
      const rig = new Rig();
      rig.offer(head);
      rig.refuses('§2.7.5');
    }
  });
});

/** How many calls one completion causes when the driver left these words in the available ring. */
function callsFor(features: bigint, flags: number, usedEvent: number, count = 1): number {
  const rig = new Rig(features, 8, 0xfffe);
  // The first call after a start is sent whatever the driver asked.
  rig.driver.add([writable(1)]);
  rig.driver.publish();
  rig.drain();
  rig.driver.harvest(() => {});
  rig.calls = 0;
  rig.driver.available[0] = flags;
  rig.driver.available[2 + 8] = usedEvent;
  for (let i = 0; i < count; i++) rig.driver.add([writable(1)]);
  rig.driver.publish();
  rig.drain();
  return rig.calls;
}

suite('§2.7.7 used buffer notifications', () => {
  test('§2.7.7.2 without EVENT_IDX, flags 1: no notification', () => {
    assert.equal(callsFor(0n, 1, 0xffff), 0);
  });

  test('§2.7.7.2 without EVENT_IDX, flags 0: a notification, whatever used_event says', () => {
    for (const usedEvent of [0, 0xfffe, 0xffff, 0x1234]) assert.equal(callsFor(0n, 0, usedEvent), 1);
  });

  test('§2.7.7.2 with EVENT_IDX, a notification when the entry at used_event is written, whatever flags says', () => {
    for (const flags of [0, 1]) {
      assert.equal(callsFor(VIRTIO_F_EVENT_IDX, flags, 0xffff), 1);
      assert.equal(callsFor(VIRTIO_F_EVENT_IDX, flags, 2, 4), 1);
    }
  });

  test('§2.7.7.2 with EVENT_IDX, no notification when another entry is written, whatever flags says', () => {
    for (const flags of [0, 1])
      for (const usedEvent of [0xfffe, 0, 1, 0x7fff]) assert.equal(callsFor(VIRTIO_F_EVENT_IDX, flags, usedEvent), 0);
    assert.equal(callsFor(VIRTIO_F_EVENT_IDX, 0, 3, 4), 0);
  });

  test('§2.7.7.2 with EVENT_IDX and used_event 0, a notification after the first buffer is used', () => {
    const rig = new Rig(VIRTIO_F_EVENT_IDX);
    rig.driver.add([writable(1)]);
    rig.driver.publish();
    rig.drain();
    assert.equal(rig.calls, 1);
  });
});

/** The accesses of one drain that serves one request, each with the state of the used ring at that moment. */
function accessesOf(features: bigint): { name: string; usedLength: number }[] {
  const rig = new Rig(features);
  rig.driver.add([writable(5)]);
  rig.driver.publish();
  const { size, available, layout } = rig.driver;
  const length = new DataView(layout.deviceArea.buffer, layout.deviceArea.byteOffset + 8, 4);
  const nameOf = ({ kind, array, index }: Access): string => {
    const isAvailable = array.byteOffset === available.byteOffset;
    const event = isAvailable ? 2 + size : 2 + 4 * size;
    const word = index === 0 ? 'flags' : index === 1 ? 'idx' : index === event ? 'event' : `word ${index}`;
    return `${kind} ${isAvailable ? 'available' : 'used'}.${word}`;
  };
  const seen: { name: string; usedLength: number }[] = [];
  using _watch = watchAtomics((access) => {
    seen.push({ name: nameOf(access), usedLength: length.getUint32(0, true) });
  });
  rig.drain();
  return seen;
}

suite('the order of accesses', () => {
  for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
    const isEvent = features !== 0n;
    const kind = isEvent ? 'EVENT_IDX' : 'flags';
    test(`§2.7.8.2 the used length is stored before the used index (${kind})`, () => {
      const store = accessesOf(features).find(({ name }) => name === 'store used.idx');
      assert.equal(store?.usedLength, 5);
    });

    test(`§2.7.7.2 flags and used_event are loaded after the used index is stored, both atomically (${kind})`, () => {
      const names = accessesOf(features).map(({ name }) => name);
      const at = names.indexOf('store used.idx');
      assert.equal(names[at + 1], isEvent ? 'load available.event' : 'load available.flags');
    });

    test(`regression: a drain ends by asking for kicks and then looking again, both atomically (${kind})`, () => {
      const names = accessesOf(features).map(({ name }) => name);
      assert.deepEqual(names.slice(-2), [isEvent ? 'store used.event' : 'store used.flags', 'load available.idx']);
    });
  }
});

suite('§2.7.8 the used ring', () => {
  test('§2.7.8.2 the device writes at least the used length, from the first device-writable buffer on', () => {
    const rig = new Rig();
    rig.driver.add([readable(3), writable(5), writable(6, 0xe00)]);
    rig.driver.publish();
    rig.drain();
    rig.driver.harvest((_, usedLength) => assert.equal(usedLength, 11));
    assert.ok(rig.memory.slice(0xc00, 5).every((byte) => byte === 0x99));
    assert.ok(rig.memory.slice(0xe00, 6).every((byte) => byte === 0x99));
  });
});

suite('§2.7.10 available buffer notifications', () => {
  test('§2.7.10.2 without EVENT_IDX the device sets flags to 0 or 1 and nothing else', () => {
    const rig = new Rig(0n);
    const seen = new Set<number>();
    using _watch = watchAtomics(() => seen.add(rig.driver.used[0] as number));
    for (let i = 0; i < 3; i++) {
      rig.driver.add([writable(1)]);
      rig.driver.publish();
      rig.drain();
    }
    rig.queue.suppress();
    rig.queue.rearm();
    assert.deepEqual(seen, new Set([0, 1]));
    assert.equal(rig.driver.used[0], 0);
  });

  test('§2.7.10.2 with EVENT_IDX the device sets flags to 0', () => {
    const memory = new DriverMemory(new Uint8Array(4096));
    const driver = new DriverQueue(memory, { size: 4, features: VIRTIO_F_EVENT_IDX });
    driver.used[0] = 1;
    const options = { features: VIRTIO_F_EVENT_IDX, notify: () => {}, again: () => {} };
    const queue = splitFormat.open(4, driver.layout, new GuestMemory([memory]), options);
    const look = (): void => assert.equal(driver.used[0], 0);
    look();
    using _watch = watchAtomics(look);
    queue.drain(() => {});
    queue.suppress();
    queue.drain(() => {});
    queue.rearm();
  });

  test('§2.7.10.2 with EVENT_IDX avail_event names the next request after a drain', () => {
    const rig = new Rig(VIRTIO_F_EVENT_IDX, 4, 0xffff);
    rig.driver.add([writable(1)]);
    rig.driver.add([writable(1)]);
    rig.driver.publish();
    rig.drain();
    assert.equal(rig.driver.used[2 + 4 * 4], 1);
  });

  test('§2.7.10.2 the device handles spurious notifications', () => {
    const rig = new Rig();
    assert.equal(rig.drain(), 0);
    rig.driver.add([writable(1)]);
    rig.driver.publish();
    assert.deepEqual([rig.drain(), rig.drain(), rig.drain()], [1, 0, 0]);
    assert.equal(rig.served.length, 1);
  });
});

test('§2.2.1 features that were not offered are distinguished from those that were', () => {
  assert.equal(unofferedFeatures(0b0110n, 0b0111n), 0n);
  assert.equal(unofferedFeatures(0b1110n | (1n << 40n), 0b0111n), 0b1000n | (1n << 40n));
});

test('§2.7 each part of a queue has its size', () => {
  assert.deepEqual(splitQueueBytes(1), { descriptorArea: 16, driverArea: 8, deviceArea: 14 });
  assert.deepEqual(splitQueueBytes(32768), { descriptorArea: 524_288, driverArea: 65_542, deviceArea: 262_150 });
});

for (const features of [0n, VIRTIO_F_EVENT_IDX]) {
  const kind = features === 0n ? 'flags' : 'EVENT_IDX';
  test(`regression: a request made between the last look and the rearm is served by the same drain (${kind})`, () => {
    const rig = new Rig(features);
    rig.driver.add([writable(1)]);
    rig.driver.publish();
    assert.equal(rig.driver.needsKick(), true);
    let stores = 0;
    using _watch = watchAtomics(({ kind: access, array, index }) => {
      const isWish = access === 'store' && array.byteOffset === rig.driver.used.byteOffset && index !== 1;
      // Without EVENT_IDX the first such store of a drain turns kicks off, the next one on again.
      if (!isWish || ++stores !== (features === 0n ? 2 : 1)) return;
      rig.driver.add([writable(1)]);
      rig.driver.publish();
      assert.equal(rig.driver.needsKick(), false);
    });
    assert.equal(rig.drain(), 2);
  });
}
