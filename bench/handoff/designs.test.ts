// bench/handoff: the old design, dispatcher and worker in one thread: it serves reads, and calls when it is idle.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VIRTIO_BLK_S_OK } from '../../src/devices/blk/spec.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { DriverRing } from '../load/driver-ring.ts';
import { RequestSlots } from '../load/request-slots.ts';
import { GUEST_BASE, memoryBytesOf, planOnlyQueue } from '../threads/ring-memory.ts';
import { StopWord } from '../threads/shared-queue.ts';
import { HandedWorker } from './handed-worker.ts';
import { ParsingDispatcher } from './parsing-dispatcher.ts';
import { RequestQueue } from './request-queue.ts';

const DEPTH = 8;
const BLOCK_BYTES = 4096;
const BLOCKS = 64;

for (const eventIdx of [true, false]) {
  test(`${eventIdx ? 'with' : 'without'} EVENT_IDX a batch is parsed, passed on and served, with one call`, () => {
    const plan = planOnlyQueue(DEPTH, BLOCK_BYTES);
    using memory = Mapping.anonymous(memoryBytesOf([plan]));
    const disk = Uint8Array.from({ length: BLOCKS * BLOCK_BYTES }, (_, at) => (at / BLOCK_BYTES) * 3 + at);
    const store = {
      sizeBytes: disk.length,
      read: (offset: number, into: Uint8Array) => into.set(disk.subarray(offset, offset + into.length)),
    };
    const requests = new RequestQueue(new SharedArrayBuffer(RequestQueue.sharedBytes(plan.size)), plan.size);
    const ring = new DriverRing(memory.bytes, plan, eventIdx);
    const slots = new RequestSlots(memory.bytes, plan, GUEST_BASE);
    const common = { memory, plan, eventIdx, requests };
    const dispatcher = new ParsingDispatcher({ ...common, diskBytes: disk.length });
    let calls = 0;
    const worker = new HandedWorker({ ...common, store, call: () => calls++ });
    const stop = new StopWord();
    const submit = (): void => {
      for (let slot = 0; slot < DEPTH; slot++) {
        slots.prepare(slot, false, (slot + 1) * 7 * 8);
        ring.push(slots.heads[slot] as number);
      }
      assert.ok(ring.publish(), 'no kick was wanted');
      stop.set(true);
    };
    dispatcher.run({ wait: submit, [Symbol.dispose]: () => {} }, stop);
    worker.run(stop);
    assert.deepEqual([worker.requests, calls, ring.completed()], [DEPTH, 1, DEPTH]);
    for (let slot = 0; slot < DEPTH; slot++) {
      assert.deepEqual([ring.usedId(slot), ring.usedLength(slot)], [slots.heads[slot], BLOCK_BYTES + 1]);
      assert.equal(slots.status(slot), VIRTIO_BLK_S_OK);
      const from = (slot + 1) * 7 * BLOCK_BYTES;
      const words = slots.words[slot] as Uint32Array;
      const read = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      assert.deepEqual(read, disk.subarray(from, from + BLOCK_BYTES));
    }
  });
}

test('a read beyond the disk ends the dispatcher, not the machine', () => {
  const plan = planOnlyQueue(1, BLOCK_BYTES);
  using memory = Mapping.anonymous(memoryBytesOf([plan]));
  const requests = new RequestQueue(new SharedArrayBuffer(RequestQueue.sharedBytes(plan.size)), plan.size);
  const ring = new DriverRing(memory.bytes, plan, true);
  const slots = new RequestSlots(memory.bytes, plan, GUEST_BASE);
  const dispatcher = new ParsingDispatcher({ memory, plan, eventIdx: true, requests, diskBytes: BLOCK_BYTES });
  const wait = (): void => {
    slots.prepare(0, false, 1);
    ring.push(slots.heads[0] as number);
    ring.publish();
  };
  assert.throws(() => dispatcher.run({ wait, [Symbol.dispose]: () => {} }, new StopWord()), /read beyond the disk/);
});
