// A bus: which device gets an access, accesses without a device, and accesses across devices.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Registers } from '../transports/bus/registers.ts';
import { allOnes, Bus } from './bus.ts';

/** Reads as its letter in every byte, and records its accesses. */
function device(letter: string): Registers & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    read: (offset, sizeBytes) => {
      seen.push(`r${offset}/${sizeBytes}`);
      return Array.from({ length: sizeBytes }).reduce<number>((sum) => sum * 256 + letter.charCodeAt(0), 0);
    },
    write: (offset, sizeBytes, value) => void seen.push(`w${offset}/${sizeBytes}=${value.toString(16)}`),
  };
}

test('an access reaches the device at its address, with the offset', () => {
  const bus = new Bus();
  const [a, b] = [device('a'), device('b')];
  bus.add(0x100, 0x10, a);
  bus.add(0xffff_fff0, 0x10, b);
  assert.equal(bus.read(0x104, 4), 0x6161_6161);
  bus.write(0xffff_ffff, 1, 0x7f);
  assert.deepEqual([a.seen, b.seen], [['r4/4'], ['w15/1=7f']]);
});

test('without a device a read returns all ones, and a write is ignored', () => {
  const bus = new Bus();
  bus.add(0x100, 0x10, device('a'));
  for (const sizeBytes of [1, 2, 4]) {
    assert.equal(bus.read(0x110, sizeBytes), allOnes(sizeBytes));
    assert.equal(bus.read(0, sizeBytes), allOnes(sizeBytes));
    assert.equal(bus.write(0x110, sizeBytes, 1), undefined);
  }
});

test('an access beyond the end of a device is split into bytes', () => {
  const bus = new Bus();
  const [a, b] = [device('a'), device('b')];
  bus.add(0x100, 2, a);
  bus.add(0x102, 1, b);
  assert.equal(bus.read(0x100, 4), 0xff62_6161);
  bus.write(0x101, 4, 0x4433_2211);
  bus.write(0xff, 2, 0xbbaa);
  assert.deepEqual(a.seen, ['r0/1', 'r1/1', 'w1/1=11', 'w0/1=bb']);
  assert.deepEqual(b.seen, ['r0/1', 'w0/1=22']);
});

test('a write to two devices completes when both have taken it', async () => {
  const bus = new Bus();
  const taken: string[] = [];
  const slow = (name: string): Registers => ({
    read: () => 0,
    write: async () => {
      await Promise.resolve();
      taken.push(name);
    },
  });
  bus.add(0, 1, slow('a'));
  bus.add(1, 1, slow('b'));
  await bus.write(0, 2, 0);
  assert.deepEqual(taken, ['a', 'b']);
});

test('a device may not overlap another one, until that is removed', () => {
  const bus = new Bus();
  const here = bus.add(0x100, 0x10, device('a'));
  for (const [start, sizeBytes] of [
    [0x100, 0x10],
    [0x10f, 1],
    [0xf0, 0x11],
    [0x108, 4],
    [0, 0x1000],
  ] as const) {
    assert.throws(() => bus.add(start, sizeBytes, device('b')), /is taken: there is a device at 0x100\.\.0x10f/);
  }
  bus.add(0xf0, 0x10, device('c'));
  bus.add(0x110, 1, device('d'));
  here[Symbol.dispose]();
  bus.add(0x100, 0x10, device('b'));
  assert.equal(bus.read(0x100, 1), 0x62);
});

test('with any devices added and removed, each address belongs to the device that was added there', () => {
  const range = fc.record({ start: fc.nat(60), sizeBytes: fc.integer({ min: 1, max: 9 }) });
  const step = fc.oneof(range, fc.record({ remove: fc.nat(9) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const bus = new Bus();
      const model: (number | undefined)[] = Array.from({ length: 80 });
      const placed: { readonly id: number; readonly gone: Disposable }[] = [];
      steps.forEach((one, id) => {
        if ('remove' in one) {
          const [victim] = placed.splice(one.remove, 1);
          victim?.gone[Symbol.dispose]();
          model.forEach((owner, i) => {
            if (owner === victim?.id) model[i] = undefined;
          });
          return;
        }
        const cells = model.slice(one.start, one.start + one.sizeBytes);
        const add = (): Disposable => bus.add(one.start, one.sizeBytes, { read: () => id, write: () => {} });
        if (cells.some((owner) => owner !== undefined)) {
          assert.throws(add, RangeError);
          return;
        }
        placed.push({ id, gone: add() });
        model.fill(id, one.start, one.start + one.sizeBytes);
      });
      model.forEach((owner, address) => {
        assert.equal(bus.read(address, 1), owner ?? 0xff);
      });
    }),
  );
});
