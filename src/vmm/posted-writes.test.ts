// Posted writes: in order, none lost, and the other side is signalled whenever it may be asleep.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newPostedWords, PostedWrites } from './posted-writes.ts';

function ring() {
  const words = newPostedWords();
  const [vcpu, device] = [new PostedWrites(words), new PostedWrites(words)];
  const taken: number[][] = [];
  const take = (): boolean => device.take((...write) => void taken.push(write));
  return { vcpu, device, taken, take, words };
}

test('writes arrive in order, with port, size and value', () => {
  const { vcpu, taken, take } = ring();
  vcpu.post(0x3f8, 1, 0x41);
  vcpu.post(0xffff, 4, 0xffff_fffe);
  assert.deepEqual([take(), take(), take()], [true, true, false]);
  assert.deepEqual(taken, [
    [0x3f8, 1, 0x41],
    [0xffff, 4, 0xffff_fffe],
  ]);
});

test('post returns true only when the ring was empty', () => {
  const { vcpu, take } = ring();
  assert.equal(vcpu.post(1, 1, 1), true);
  assert.equal(vcpu.post(1, 1, 2), false);
  take();
  assert.equal(vcpu.post(1, 1, 3), false, 'there is one left: the device side checks again after it');
  while (take());
  assert.equal(vcpu.post(1, 1, 4), true);
});

test('a write that is posted while the last one is taken is seen in the same turn, or signalled', () => {
  const { vcpu, device } = ring();
  const seen: number[] = [];
  let isSignalled = false;
  vcpu.post(1, 1, 1);
  const turn = (): void => {
    const take = (_: number, __: number, value: number): void => {
      seen.push(value);
      if (value === 1) isSignalled = vcpu.post(1, 1, 2);
    };
    while (device.take(take));
  };
  turn();
  assert.ok(isSignalled || seen.includes(2));
  assert.deepEqual(seen, [1, 2]);
});

test('head and tail wrap around at 32 bits', () => {
  const { vcpu, taken, take, words } = ring();
  words[0] = words[1] = 0x7fff_ffff;
  for (let i = 0; i < 3; i++) vcpu.post(1, 1, i);
  while (take());
  assert.deepEqual(taken, [
    [1, 1, 0],
    [1, 1, 1],
    [1, 1, 2],
  ]);
});

test('discarded writes do not arrive', () => {
  const { vcpu, device, taken, take } = ring();
  for (let i = 0; i < 1024; i++) vcpu.post(1, 1, i);
  device.discard();
  assert.deepEqual([take(), taken], [false, []]);
  assert.equal(vcpu.post(1, 1, 1), true);
});

test('a ring knows whether it is empty', () => {
  const { vcpu, device, take } = ring();
  assert.ok(device.isEmpty);
  vcpu.post(1, 1, 1);
  assert.ok(!device.isEmpty);
  take();
  assert.ok(device.isEmpty);
});
