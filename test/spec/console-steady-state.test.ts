// In steady state a console's request costs the heap one copy of its bytes and the views of its pieces, however many ports there are.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { ConsoleDevice } from '../../src/devices/console/console-device.ts';
import { RECEIVEQ, receiveQueueOf, TRANSMITQ } from '../../src/devices/console/spec.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import type { DeviceContext } from '../../src/virtio/device.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';

const BATCH = 32;
const REQUESTS = 100 * BATCH;
const LENGTH = 64;
/** Rounds until the compiler has settled; the first that is good enough ends it. */
const ROUNDS_MAX = 200;
/** An array of LENGTH bytes with its buffer, views of the pieces, and what a promise of `push` costs. */
const REQUEST_BYTES_MAX = 1500;

/** Moves BATCH requests over one queue, again and again. */
function requestsOf(index: number, ports: number): { readonly run: () => void; readonly moved: () => number } {
  const memory = new DriverMemory(new Uint8Array(1 << 18));
  const driver = new DriverQueue(memory, { size: 64, features: VIRTIO_F_EVENT_IDX });
  let moved = 0;
  const output = (bytes: Uint8Array): void => {
    moved += bytes.length;
  };
  const more = Array.from({ length: ports - 1 }, () => ({ isConsole: true, output }));
  const device = new ConsoleDevice({ output, ...(ports > 1 && { ports: more }) });
  const context = { soon() {} } as unknown as DeviceContext;
  device.attach(context);
  device.start(device.features | VIRTIO_F_EVENT_IDX, context);
  const options = { features: VIRTIO_F_EVENT_IDX, notify() {}, again() {} };
  const queue = splitFormat.open(64, driver.layout, new GuestMemory([memory]), options);
  device.queueStarted(index, queue);
  const isInput = index % 2 === 0;
  const buffers = Array.from({ length: BATCH }, () => [
    { address: memory.allocate(LENGTH), length: LENGTH, writable: isInput },
  ]);
  const port = device.ports.at(-1);
  const typed = new Uint8Array(LENGTH);
  const onUsed = (_head: number, written: number): void => {
    moved += written;
  };
  const run = (): void => {
    for (let done = 0; done < REQUESTS; done += BATCH) {
      for (const buffer of buffers) driver.add(buffer);
      driver.publish();
      device.process(index, queue);
      if (isInput) for (let i = 0; i < BATCH; i++) void port?.push(typed);
      queue.publish();
      driver.harvest(onUsed);
      driver.requestCalls();
    }
  };
  return { run, moved: () => moved };
}

for (const [name, index, ports] of [
  ['output of the only port', TRANSMITQ, 1],
  ['input of the only port', RECEIVEQ, 1],
  ['output of the last of 31 ports', receiveQueueOf(30) + 1, 31],
  ['input of the last of 31 ports', receiveQueueOf(30), 31],
] as const) {
  test(`${name} allocates its copy and its views, and no more after many requests`, () => {
    const { run, moved } = requestsOf(index, ports);
    let least = Number.POSITIVE_INFINITY;
    let rounds = 0;
    while (rounds++ < ROUNDS_MAX && (rounds < 10 || least > REQUEST_BYTES_MAX)) {
      const before = getHeapStatistics().total_allocated_bytes;
      run();
      least = Math.min(least, (getHeapStatistics().total_allocated_bytes - before) / REQUESTS);
    }
    assert.ok(least < REQUEST_BYTES_MAX, `${least.toFixed(1)} bytes a request`);
    assert.ok(moved() > 0 && moved() % (REQUESTS * LENGTH) === 0, `${moved()} bytes were moved`);
  });
}
