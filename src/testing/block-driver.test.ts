// BlockDriver: how requests are cut into chains, and how completions are decoded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDriver, STATUS_UNWRITTEN } from './block-driver.ts';
import { BlockLoopback } from './block-loopback.ts';
import { blockRequest, encodeReadable } from './block-request.ts';
import { UNWRITTEN } from './chain-driver.ts';
import { DriverMemory } from './driver-memory.ts';
import { DriverQueue } from './driver-queue.ts';

/** Length and direction of each descriptor from `head` on. */
function layoutOf(queue: DriverQueue, head: number): string {
  const [, , length, word] = queue.descriptors.subarray(4 * head, 4 * head + 4) as unknown as [0, 0, number, number];
  const here = `${length}${(word & 2) === 0 ? 'r' : 'w'}`;
  return (word & 1) === 0 ? here : `${here} ${layoutOf(queue, word >>> 16)}`;
}

function newDriver(): BlockDriver {
  const memory = new DriverMemory(new Uint8Array(1 << 16));
  return new BlockDriver(memory, new DriverQueue(memory, { size: 16, indirectMax: 8 }));
}

test('by default a request is one readable and one writable piece', () => {
  const driver = newDriver();
  assert.equal(layoutOf(driver.queue, driver.add(blockRequest.read(1, 512))), '16r 513w');
  assert.equal(layoutOf(driver.queue, driver.add(blockRequest.write(1, new Uint8Array(512)))), '528r 1w');
});

test('a request is cut at the given lengths, also into empty pieces', () => {
  const driver = newDriver();
  const head = driver.add(blockRequest.read(1, 512), { readable: [0, 10, 6], writable: [512, 0, 1, 7] });
  assert.equal(layoutOf(driver.queue, head), '0r 10r 6r 512w 0w 1w');
});

test('a header is type, reserved and sector, little-endian, and ranges follow', () => {
  const request = blockRequest.discard({ sector: 2 ** 32 + 1, sectors: 3, flags: 1 });
  const bytes = encodeReadable({ ...request, sector: 2 ** 33 });
  assert.deepEqual([...new Uint32Array(bytes.buffer)], [11, 0, 0, 2, 1, 1, 3, 1]);
});

test('bytes that the device did not write can be recognized', async () => {
  const driver = newDriver();
  const head = driver.add(blockRequest.read(0, 4), { writable: [2] });
  driver.queue.publish();
  const { deviceArea } = driver.queue.layout;
  new Uint32Array(deviceArea.buffer, deviceArea.byteOffset + 4, 2).set([head, 0]);
  driver.queue.used[1] = 1;
  assert.equal(driver.inFlight, 1);
  const [result] = driver.harvest();
  assert.deepEqual([result?.status, result?.usedLength], [STATUS_UNWRITTEN, 0]);
  assert.deepEqual([...(result?.data ?? [])], [UNWRITTEN, UNWRITTEN, UNWRITTEN, UNWRITTEN]);
  assert.equal(driver.inFlight, 0);
});

test('memory and descriptors are used again: thousands of requests through a small ring', async () => {
  const sizeBytes = 1 << 16;
  const bytes = new Uint8Array(sizeBytes);
  const loop = new BlockLoopback(
    {
      sizeBytes,
      read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
      write: (offset, from) => bytes.set(from, offset),
    },
    { size: 8, memoryBytes: 1 << 15 },
  );
  for (let i = 0; i < 3000; i++) {
    const sector = (i * 7) % 120;
    const data = new Uint8Array(1024).fill(i);
    loop.kick([blockRequest.write(sector, data)], { readable: [16, i % 1000], indirectFrom: i % 4 });
    loop.kick([blockRequest.read(sector, 1024)], { writable: [(i * 3) % 1000], indirectFrom: i % 4 });
    const [written, read] = loop.driver.harvest();
    assert.deepEqual([written?.status, read?.status, read?.usedLength], [0, 0, 1025]);
    assert.deepEqual(read?.data, data);
  }
});
