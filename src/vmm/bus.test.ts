// A bus: who answers where, what nobody answers, and accesses that are larger than a device.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Registers } from '../transports/bus/registers.ts';
import { allOnes, Bus } from './bus.ts';

/** Answers with its name's letter in every byte, and notes what was written. */
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

test('an access reaches the device that stands there, with its offset', () => {
  const bus = new Bus();
  const [a, b] = [device('a'), device('b')];
  bus.add(0x100, 0x10, a);
  bus.add(0xffff_fff0, 0x10, b);
  assert.equal(bus.read(0x104, 4), 0x6161_6161);
  bus.write(0xffff_ffff, 1, 0x7f);
  assert.deepEqual([a.seen, b.seen], [['r4/4'], ['w15/1=7f']]);
});

test('where nobody stands a read gives all ones, and a write is forgotten', () => {
  const bus = new Bus();
  bus.add(0x100, 0x10, device('a'));
  for (const sizeBytes of [1, 2, 4]) {
    assert.equal(bus.read(0x110, sizeBytes), allOnes(sizeBytes));
    assert.equal(bus.read(0, sizeBytes), allOnes(sizeBytes));
    assert.equal(bus.write(0x110, sizeBytes, 1), undefined);
  }
});

test('an access that reaches beyond its device is one access for each byte', () => {
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

test('a write that reaches two devices is over when both have taken it', async () => {
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

test('a device may not stand where another does, and may once that is gone', () => {
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

test('whatever comes and goes, each address is answered by whoever was put there', () => {
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
