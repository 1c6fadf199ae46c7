// bench/load: the layout of a queue, and its chains as a device reads them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { planQueue } from './queue-plan.ts';
import { NO_SLOT, RequestSlots } from './request-slots.ts';

const GUEST_BASE = 0x1_2345_0000;

test('the parts of a queue do not overlap, are aligned, and begin at the given offset', () => {
  for (const depth of [1, 3, 64, 100]) {
    for (const blockBytes of [512, 4096, 1 << 20]) {
      const plan = planQueue(12345, { depth, blockBytes, segmentBytesMax: 65536 });
      const parts = [
        [plan.descriptorArea, 16 * plan.size, 16],
        [plan.driverArea, 6 + 2 * plan.size, 2],
        [plan.deviceArea, 6 + 8 * plan.size, 4],
        [plan.envelopes, 64 * depth, 64],
        [plan.data, depth * blockBytes, 4096],
      ] as const;
      let end = 12345;
      for (const [at, length, alignment] of parts) {
        assert.ok(at >= end && at % alignment === 0, `${at} after ${end}`);
        end = at + length;
      }
      assert.equal(plan.end, end);
      assert.equal(plan.size & (plan.size - 1), 0);
      assert.ok(plan.size >= depth * plan.descriptorsPerSlot);
    }
  }
});

test('a depth that no queue can hold is refused', () => {
  assert.throws(() => planQueue(0, { depth: 20_000, blockBytes: 512, segmentBytesMax: 512 }), /60000 descriptors/);
});

test('§5.2.6 every slot is a chain of header, data and status, with the data readable or writable by its direction', () => {
  const plan = planQueue(0, { depth: 5, blockBytes: 10_240, segmentBytesMax: 4096 });
  const bytes = new Uint8Array(plan.end);
  const slots = new RequestSlots(bytes, plan, GUEST_BASE);
  const memory = new GuestMemory([{ guestAddress: GUEST_BASE, bytes }]);
  const table = new DataView(bytes.buffer, plan.descriptorArea, 16 * plan.size);
  const chain = new DescriptorChain();
  for (const write of [false, true, false]) {
    for (let slot = 0; slot < slots.count; slot++) {
      slots.prepare(slot, write, 2 ** 33 + slot);
      chain.load(slots.heads[slot] as number, table, plan.size, memory, false);
      assert.equal(chain.readable.totalBytes, 16 + (write ? 10_240 : 0));
      assert.equal(chain.writable.totalBytes, 1 + (write ? 0 : 10_240));
      assert.equal(slots.usedLength(slot), chain.writable.totalBytes);
      const words = [0, 4, 8, 12].map((at) => chain.readable.uint32(at));
      assert.deepEqual(words, [write ? 1 : 0, 0, slot, 2]);
    }
  }
  assert.equal(slots.slotOf.filter((slot) => slot !== NO_SLOT).length, 5);
  assert.equal(slots.describe(3), `read of 10240 bytes at sector ${2 ** 33 + 3}`);
});
