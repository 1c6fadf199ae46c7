// The PCI bus: mechanism #1 as guests probe it, its host bridge, and device numbers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigSpace } from '../transports/bus/pci/config-space.ts';
import { PciConfig } from '../transports/bus/pci/spec.ts';
import { PciBus } from './pci-bus.ts';

const ENABLE = 0x8000_0000;

function functionOf(vendor: number): ConfigSpace {
  const config = new ConfigSpace();
  config.define(PciConfig.vendorId, 2, vendor);
  config.define(PciConfig.cacheLineSize, 4, 0, 0xffff_ffff);
  return config;
}

const address = (device: number, register = 0): number => ENABLE + device * 0x800 + register;

function select(bus: PciBus, value: number): void {
  bus.write(0, 4, value);
}

test('a guest that probes for the mechanism reads back the address it wrote', () => {
  const bus = new PciBus();
  bus.write(3, 1, 1);
  select(bus, ENABLE);
  assert.equal(bus.read(0, 4), ENABLE);
  assert.equal(bus.read(0, 1), 0xff, 'the address is a double word');
  select(bus, 0xffff_ffff);
  assert.equal(bus.read(0, 4), 0x80ff_fffc);
});

test('device 0 is a host bridge', () => {
  const bus = new PciBus();
  select(bus, address(0, PciConfig.revisionId));
  assert.equal(bus.read(4, 4) >>> 8, 0x06_0000);
});

test('functions get the free numbers from 1 on, up to 31', () => {
  const bus = new PciBus();
  for (let device = 1; device < 32; device++) assert.equal(bus.add(functionOf(0x1000 + device)), device);
  assert.throws(() => bus.add(functionOf(1)), /takes 31 devices/);
  select(bus, address(7));
  assert.equal(bus.read(4, 2), 0x1007);
});

test('missing devices, functions and buses read as all ones and ignore writes, as do accesses without the enable bit', () => {
  const bus = new PciBus();
  bus.add(functionOf(0x1234));
  for (const where of [address(2), address(1) + 0x100, address(1) + 0x1_0000, address(1) - ENABLE]) {
    select(bus, where);
    assert.equal(bus.read(4, 4), 0xffff_ffff);
    assert.equal(bus.read(4, 2), 0xffff);
    bus.write(4, 4, 0);
  }
  select(bus, address(1));
  assert.equal(bus.read(4, 2), 0x1234);
});

test('bytes and words within the selected double word', () => {
  const bus = new PciBus();
  bus.add(functionOf(0x1234));
  select(bus, address(1, PciConfig.cacheLineSize));
  bus.write(4 + 1, 1, 0xab);
  bus.write(4 + 2, 2, 0xcdef);
  assert.equal(bus.read(4, 4), 0xcdef_ab00);
  assert.equal(bus.read(4 + 3, 1), 0xcd);
  assert.equal(bus.read(4 + 2, 2), 0xcdef);
});
