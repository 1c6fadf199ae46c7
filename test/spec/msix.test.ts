// test/spec: MSI-X as virtio-pci uses it: masks, pending bits, and which vector belongs to what (PCI 3.0 §6.8, VIRTIO 1.3 §4.1.5.1.2).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { type MsiPort, Msix } from '../../src/transports/bus/pci/msix.ts';
import * as pci from '../../src/transports/bus/pci/spec.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';

const QUEUES = 3;
const DISK_BYTES = 64 * 1024;
const { CommonConfig: Field, MsixEntry: Entry } = pci;
const MASKED = pci.MSIX_ENTRY_MASKED;

interface World extends AsyncDisposable {
  readonly driver: PciDriver;
  /** Sends a configuration change notification: vector 0. */
  notify(): void;
}

function makeWorld(): World {
  const device = new BlockDevice(arrayStore(pattern(DISK_BYTES)), { queues: QUEUES });
  const guest = new RawGuest();
  const driver = new PciDriver(device, guest);
  let size = DISK_BYTES;
  return {
    driver,
    notify() {
      size = size === DISK_BYTES ? DISK_BYTES / 2 : DISK_BYTES;
      device.resize(size);
    },
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]();
      guest[Symbol.dispose]();
    },
  };
}

/** A device that runs, its configuration changes on vector 0, with nothing pending. */
async function running(): Promise<World> {
  const world = makeWorld();
  await world.driver.reset();
  assert.ok(await world.driver.accept(await world.driver.offered()));
  world.driver.write(Field.config_msix_vector, 0, 2);
  await world.driver.start();
  world.driver.machine.takeMessages();
  return world;
}

test('there is a vector for each queue and one for the configuration, all masked at first', async () => {
  await using world = makeWorld();
  assert.equal(world.driver.vectors, QUEUES + 1);
  using fresh = new Msix(QUEUES + 1, world.driver.machine.messages, () => {});
  for (let vector = 0; vector < QUEUES + 1; vector++)
    assert.equal(fresh.read(vector * pci.MSIX_ENTRY_BYTES + Entry.control, 4), MASKED);
  assert.equal(fresh.eventFd(QUEUES + 1), undefined);
});

test('an entry reads back as it was written, but for reserved bits', async () => {
  await using world = makeWorld();
  for (const [field, value] of [
    [Entry.addressLow, 0xfee0_1000],
    [Entry.addressHigh, 1],
    [Entry.data, 0x1234_5678],
  ] as const) {
    world.driver.writeEntry(1, field, value);
    assert.equal(world.driver.readEntry(1, field), value);
  }
  world.driver.writeEntry(1, Entry.control, 0xffff_ffff);
  assert.equal(world.driver.readEntry(1, Entry.control), MASKED);
});

test('a vector sends its message, with its address and data', async () => {
  await using world = await running();
  world.driver.writeEntry(0, Entry.control, MASKED);
  world.driver.writeEntry(0, Entry.data, 0x4321);
  world.driver.writeEntry(0, Entry.addressHigh, 2);
  world.driver.writeEntry(0, Entry.control, 0);
  world.notify();
  assert.deepEqual(world.driver.machine.takeMessages(), [{ address: 0x2_fee0_0000, data: 0x4321 }]);
});

test('a masked vector is pending, and is sent once when it is unmasked', async () => {
  await using world = await running();
  assert.equal(world.driver.isPending(0), false);
  world.driver.writeEntry(0, Entry.control, MASKED);
  for (let i = 0; i < 3; i++) world.notify();
  assert.equal(world.driver.took(0), false);
  assert.equal(world.driver.isPending(0), true);
  assert.equal(world.driver.isPending(0), true, 'looking changes nothing');
  assert.equal(world.driver.isPending(1), false);
  world.driver.writeEntry(0, Entry.control, 0);
  assert.equal(world.driver.machine.takeMessages().length, 1);
  assert.equal(world.driver.isPending(0), false);
  world.driver.writeEntry(0, Entry.control, MASKED);
  assert.equal(world.driver.isPending(0), false, 'what was sent is not pending again');
});

test('what was rung before it was masked is sent before', async () => {
  await using world = await running();
  world.notify();
  world.driver.writeEntry(0, Entry.control, MASKED);
  assert.equal(world.driver.took(0), true);
  assert.equal(world.driver.isPending(0), false);
});

test('the function mask keeps every vector pending, and lifting it sends them', async () => {
  await using world = await running();
  world.driver.controlMsix(pci.MSIX_CONTROL_ENABLE | pci.MSIX_CONTROL_MASK_ALL);
  world.notify();
  assert.equal(world.driver.took(0), false);
  assert.equal(world.driver.isPending(0), true);
  world.driver.controlMsix(pci.MSIX_CONTROL_ENABLE);
  assert.equal(world.driver.took(0), true);
  assert.equal(world.driver.isPending(0), false);
});

test('an entry that is masked stays so under the function mask', async () => {
  await using world = await running();
  world.driver.controlMsix(pci.MSIX_CONTROL_ENABLE | pci.MSIX_CONTROL_MASK_ALL);
  world.driver.writeEntry(0, Entry.control, MASKED);
  world.notify();
  world.driver.controlMsix(pci.MSIX_CONTROL_ENABLE);
  assert.equal(world.driver.took(0), false);
  world.driver.writeEntry(0, Entry.control, 0);
  assert.equal(world.driver.took(0), true);
});

test('a vector that the kernel refuses stays pending, is logged, and is tried again', () => {
  let refuses = true;
  const lines: string[] = [];
  const port: MsiPort = {
    assign() {
      if (refuses) throw new Error('no routes left');
      return { [Symbol.dispose]() {} };
    },
  };
  using msix = new Msix(1, port, (line) => lines.push(line));
  msix.control(true, false);
  msix.write(Entry.control, 4, 0);
  msix.eventFd(0)?.signal();
  assert.equal(msix.read(pci.Bar1.pending, 4), 1);
  assert.match(lines.join(), /vector 0 stays masked: no routes left/);
  refuses = false;
  msix.control(true, false);
  assert.equal(msix.read(pci.Bar1.pending, 4), 0);
});

test('pending bits cannot be written', async () => {
  await using world = await running();
  const pending = world.driver.barAddress(1) + pci.Bar1.pending;
  world.driver.machine.write(pending, 4, 0xffff_ffff);
  assert.equal(world.driver.machine.read(pending, 4), 0);
});

test('§4.1.5.1.2.1 a vector reads back where it exists, NO_VECTOR where not, and after a reset', async () => {
  await using world = makeWorld();
  const fields = [Field.config_msix_vector, Field.queue_msix_vector];
  world.driver.write(Field.queue_select, 1, 2);
  for (const field of fields) {
    for (const vector of [0, QUEUES]) {
      world.driver.write(field, vector, 2);
      assert.equal(world.driver.read(field, 2), vector);
    }
    for (const vector of [QUEUES + 1, 0x7ff, pci.VIRTIO_MSI_NO_VECTOR]) {
      world.driver.write(field, vector, 2);
      assert.equal(world.driver.read(field, 2), pci.VIRTIO_MSI_NO_VECTOR);
    }
    world.driver.write(field, 1, 2);
  }
  await world.driver.reset();
  world.driver.write(Field.queue_select, 1, 2);
  for (const field of fields) assert.equal(world.driver.read(field, 2), pci.VIRTIO_MSI_NO_VECTOR);
});

test('§4.1.5.1.2.1 any event may be on any vector, several on one', async () => {
  await using world = await running();
  world.driver.write(Field.config_msix_vector, QUEUES, 2);
  world.notify();
  assert.equal(world.driver.took(QUEUES), true);
  world.driver.write(Field.config_msix_vector, pci.VIRTIO_MSI_NO_VECTOR, 2);
  world.notify();
  for (let vector = 0; vector <= QUEUES; vector++) assert.equal(world.driver.took(vector), false);
});

test('an access to the table that is not 4 bytes and aligned reads as zero and writes nothing', async () => {
  await using world = makeWorld();
  const table = world.driver.barAddress(1);
  const before = world.driver.readEntry(0, Entry.addressLow);
  for (const [offset, sizeBytes] of [
    [0, 1],
    [0, 2],
    [2, 4],
  ] as const) {
    assert.equal(world.driver.machine.read(table + offset, sizeBytes), 0);
    world.driver.machine.write(table + offset, sizeBytes, 0xff);
  }
  assert.equal(world.driver.readEntry(0, Entry.addressLow), before);
});
