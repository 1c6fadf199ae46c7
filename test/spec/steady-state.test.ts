// In steady state a request costs the heap nothing but the views it hands to its store.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { blockRequest, encodeReadable } from '../../src/testing/block-request.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { type DriverBuffer, DriverQueue } from '../../src/testing/driver-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';

const FEATURES = VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
const BATCH = 32;
const REQUESTS = 100 * BATCH;
/** Rounds until the compiler has settled; the first that is good enough ends it. */
const ROUNDS_MAX = 200;
/** Less than any object a request could still make, more than what a batch and the measurement cost. */
const SLACK_BYTES = 24;

/** Bytes the heap gave out while `run` ran, for each of `count`. */
function allocated(count: number, run: () => void): number {
  const before = getHeapStatistics().total_allocated_bytes;
  run();
  return (getHeapStatistics().total_allocated_bytes - before) / count;
}

/** The fewest bytes that one request of these pieces, and one view, cost in a round. */
function costs(type: number, dataPieces: readonly number[], indirectFrom: number): { request: number; view: number } {
  const memory = new DriverMemory(new Uint8Array(1 << 16));
  const driver = new DriverQueue(memory, { size: 256, features: FEATURES, indirectMax: 8 });
  const store = { sizeBytes: 1 << 20, read() {}, write() {}, flush() {} };
  const device = new BlockDevice(store);
  let isTurnOver = false;
  const again = (): void => {
    isTurnOver = true;
  };
  const options = { features: FEATURES, notify() {}, again };
  const queue = splitFormat.open(256, driver.layout, new GuestMemory([memory]), options);
  const header = memory.allocate(16);
  memory.slice(header, 16).set(encodeReadable({ ...blockRequest.flush(), type }));
  const buffers: DriverBuffer[] = [
    { address: header, length: 16, writable: false },
    ...dataPieces.map((length) => ({ address: memory.allocate(length), length, writable: type === 0 })),
    { address: memory.allocate(1), length: 1, writable: true },
  ];
  const onUsed = (): void => {};
  const serve = (): void => {
    for (let done = 0; done < REQUESTS; done += BATCH) {
      for (let i = 0; i < BATCH; i++) driver.add(buffers, indirectFrom);
      driver.publish();
      do {
        isTurnOver = false;
        device.process(0, queue);
      } while (isTurnOver);
      driver.harvest(onUsed);
      driver.requestCalls();
    }
  };
  const keep: unknown[] = [undefined];
  const view = (): void => {
    for (let i = 0; i < REQUESTS; i++) keep[0] = new Uint8Array(memory.bytes.buffer, i % 64, 64);
  };
  const least = { request: Number.POSITIVE_INFINITY, view: Number.POSITIVE_INFINITY };
  for (let round = 0; round < ROUNDS_MAX; round++) {
    least.view = Math.min(least.view, allocated(REQUESTS, view));
    least.request = Math.min(least.request, allocated(REQUESTS, serve));
    if (round > 10 && least.request < dataPieces.length * least.view + SLACK_BYTES) break;
  }
  return least;
}

for (const [name, type, dataPieces, indirectFrom] of [
  ['a read of one piece', 0, [4096], 99],
  ['a write of one piece', 1, [4096], 99],
  ['a read in an indirect table', 0, [4096], 0],
  ['a read of three pieces', 0, [512, 4096, 512], 99],
  ['a write of three pieces', 1, [512, 4096, 512], 0],
  ['a flush', 4, [], 99],
] as const) {
  test(`${name} allocates its ${dataPieces.length} views and nothing else`, () => {
    const { request, view } = costs(type, dataPieces, indirectFrom);
    const said = `${request.toFixed(1)} bytes a request, ${view.toFixed(1)} a view`;
    assert.ok(view > 40, said);
    assert.ok(request < dataPieces.length * view + SLACK_BYTES, said);
  });
}
