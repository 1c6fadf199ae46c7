// Power off, reset and the timer, as a kernel uses them by ACPI.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PORTS } from './address-map.ts';
import { Bus } from './bus.ts';
import { SLEEP_TYPE_S5 } from './dsdt.ts';
import { addPowerManagement, RESET_VALUE } from './power-management.ts';

const SLEEP_ENABLE = 1 << 13;

function ports(): { readonly bus: Bus; readonly done: string[] } {
  const bus = new Bus();
  const done: string[] = [];
  addPowerManagement(bus, { powerOff: () => done.push('power-off'), reset: () => done.push('reset') });
  return { bus, done };
}

test('SLP_EN with the sleep type of S5 powers off, and no other value does', () => {
  const { bus, done } = ports();
  for (let type = 0; type < 8; type++) {
    if (type !== SLEEP_TYPE_S5) bus.write(PORTS.pmControl, 2, (type << 10) | SLEEP_ENABLE);
  }
  bus.write(PORTS.pmControl, 2, SLEEP_TYPE_S5 << 10);
  assert.deepEqual(done, []);
  bus.write(PORTS.pmControl, 2, (SLEEP_TYPE_S5 << 10) | SLEEP_ENABLE);
  assert.deepEqual(done, ['power-off']);
});

test('the sleep type may be written before, and a byte at a time', () => {
  const { bus, done } = ports();
  bus.write(PORTS.pmControl, 2, SLEEP_TYPE_S5 << 10);
  assert.equal(bus.read(PORTS.pmControl, 2), (SLEEP_TYPE_S5 << 10) | 1, 'SCI_EN is set, SLP_EN reads as zero');
  bus.write(PORTS.pmControl + 1, 1, (SLEEP_TYPE_S5 << 2) | (SLEEP_ENABLE >> 8));
  assert.deepEqual(done, ['power-off']);
});

test('no event is ever pending, and enable bits can be read back', () => {
  const { bus } = ports();
  bus.write(PORTS.pmEvent, 2, 0xffff);
  bus.write(PORTS.pmEvent + 2, 2, 0x0120);
  assert.equal(bus.read(PORTS.pmEvent, 4), 0x0120_0000);
});

test('the reset register takes only its value', () => {
  const { bus, done } = ports();
  bus.write(PORTS.reset, 1, 0);
  assert.deepEqual(done, []);
  bus.write(PORTS.reset, 1, RESET_VALUE);
  assert.deepEqual(done, ['reset']);
});

test('the timer has 24 bits, 3,579,545 ticks a second, and wraps around', (t) => {
  const { bus } = ports();
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  const ticksAt = (ms: number): number => {
    nowMs = ms;
    return bus.read(PORTS.pmTimer, 4);
  };
  assert.deepEqual([0, 1000, 4000].map(ticksAt), [0, 3_579_545, 4 * 3_579_545]);
  assert.equal(ticksAt(5000), 5 * 3_579_545 - 2 ** 24, 'it begins again');
});
