// test/spec: virtio-pci structure by structure, VIRTIO 1.3 §4.1: the function, its BARs, its capabilities, the common configuration.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG } from '../../src/devices/blk/spec.ts';
import type { BlockDriver } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { type FoundStructure, PciDriver } from '../../src/testing/pci-driver.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { StandInOptions } from '../../src/testing/stand-in-machine.ts';
import * as pci from '../../src/transports/bus/pci/spec.ts';
import type { DoorbellPort } from '../../src/transports/bus/transport.ts';
import { DeviceStatus } from '../../src/virtio/spec.ts';
import { PCI_WINDOW } from '../../src/vmm/address-map.ts';
import { DISK_BYTES, type DrivenDevice, driveDevice, QUEUES } from './driven-device.ts';

const { CommonConfig: Field } = pci;
const MEMORY_AND_DMA = pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_DMA;

function makeWorld(options: StandInOptions = {}): DrivenDevice<PciDriver> {
  return driveDevice((device, guest) => new PciDriver(device, guest, options));
}

/** Makes a read available, notifies, and waits for the data. */
async function readsBack(blocks: BlockDriver, ring: () => void): Promise<void> {
  blocks.queue.requestCalls();
  blocks.add(blockRequest.read(1, 512));
  blocks.queue.publish();
  ring();
  let count = 0;
  await eventually('the read', () => {
    count += blocks.harvest().length;
    return count > 0;
  });
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('§4.1.2.1 vendor, device, revision and subsystem are those of a device without a legacy interface', async () => {
  await using world = makeWorld();
  assert.equal(world.driver.readPci(pci.PciConfig.vendorId, 2), 0x1af4);
  assert.equal(world.driver.readPci(pci.PciConfig.deviceId, 2), 0x1042);
  assert.ok(world.driver.readPci(pci.PciConfig.revisionId, 1) >= 1);
  assert.ok(world.driver.readPci(pci.PciConfig.subsystemId, 2) >= 0x40);
  assert.equal(world.driver.readPci(pci.PciConfig.classCode + 2, 1), 1, 'mass storage');
  assert.equal(world.driver.readPci(0x3d, 1), 0, 'no interrupt pin');
});

test('the identity of a function cannot be written', async () => {
  await using world = makeWorld();
  const before = Array.from({ length: 16 }, (_, i) => world.driver.readPci(4 * i));
  world.driver.command(0);
  for (const register of [0x00, 0x08, 0x2c, 0x34]) {
    world.driver.writePci(register, 0xffff_ffff);
    assert.equal(world.driver.readPci(register), before[register / 4]);
  }
});

test('a BAR shows its size when it is written with ones, and an address of that alignment after', async () => {
  await using world = makeWorld();
  assert.deepEqual(world.driver.barBytes, [pci.BAR0_BYTES, pci.BAR1_BYTES, 0, 0, 0, 0]);
  world.driver.command(0);
  world.driver.writePci(pci.PciConfig.bar0, 0xc123_4567);
  assert.equal(world.driver.barAddress(0), 0xc123_4000);
});

test('a BAR answers where it is put, while memory is enabled, and its doorbells go along', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  const { machine } = world.driver;
  const doorbell = (): number | undefined => machine.doorbellPlaces[0]?.address;
  assert.equal(doorbell(), PCI_WINDOW.start + pci.Bar0.notify);
  const moved = PCI_WINDOW.start + 0x40_0000;
  world.driver.writePci(pci.PciConfig.bar0, moved);
  assert.equal(doorbell(), moved + pci.Bar0.notify);
  assert.equal(machine.read(moved + Field.num_queues, 2), QUEUES);
  assert.equal(machine.read(PCI_WINDOW.start + Field.num_queues, 2), 0xffff, 'nobody is left there');
  await readsBack(blocks, () => world.driver.kick(0));
  world.driver.command(pci.PCI_COMMAND_DMA);
  assert.equal(doorbell(), undefined);
  assert.equal(machine.read(moved + Field.num_queues, 2), 0xffff);
  world.driver.command(MEMORY_AND_DMA);
  assert.equal(doorbell(), moved + pci.Bar0.notify);
  await readsBack(blocks, () => world.driver.kick(0));
});

test('an access that leaves a BAR where it is leaves its doorbells alone', async () => {
  let assigned = 0;
  const doorbells: DoorbellPort = {
    assign() {
      assigned++;
      return { [Symbol.dispose]() {} };
    },
  };
  await using world = makeWorld({ doorbells });
  await world.run();
  const before = assigned;
  world.driver.writePci(pci.PciConfig.bar0, world.driver.barAddress(0));
  world.driver.writePci(pci.PciConfig.bar0 + 4, PCI_WINDOW.start + 0x80_0000);
  world.driver.command(MEMORY_AND_DMA);
  assert.equal(assigned, before);
});

test('a BAR at the address of another device is not mapped, is logged once, and is mapped again elsewhere', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  const home = world.driver.barAddress(0);
  const taken = world.driver.barAddress(1);
  for (let i = 0; i < 3; i++) {
    world.driver.writePci(pci.PciConfig.bar0, taken);
    world.driver.writePci(pci.PciConfig.bar0, home);
  }
  assert.deepEqual(world.driver.lines, ['BAR 0 answers nowhere: the driver put it where there is no room']);
  await readsBack(blocks, () => world.driver.kick(0));
});

test('without the command bit for DMA the device leaves memory alone and sends nothing; with it everything goes on', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  await settle();
  world.driver.tookUsedInterrupt(0);
  await world.driver.command(pci.PCI_COMMAND_MEMORY);
  blocks.queue.requestCalls();
  blocks.add(blockRequest.read(0, 512));
  blocks.queue.publish();
  world.driver.kick(0);
  world.device.resize(DISK_BYTES / 2);
  await settle();
  assert.deepEqual(blocks.harvest(), []);
  assert.equal(world.driver.tookConfigInterrupt(), false);
  await world.driver.command(MEMORY_AND_DMA);
  await eventually('the read', () => blocks.harvest().length === 1);
  await eventually('its interrupt', () => world.driver.tookUsedInterrupt(0));
  assert.equal(world.driver.tookConfigInterrupt(), true);
});

test('§4.1.4 there is a capability for each structure, and each is within BAR 0', async () => {
  await using world = makeWorld();
  for (const type of [1, 2, 3, 4]) {
    const found = world.driver.structures.get(type) as FoundStructure;
    assert.equal(found.bar, 0, `cfg_type ${type}`);
    assert.ok(found.sizeBytes > 0 && found.offset + found.sizeBytes <= pci.BAR0_BYTES);
    assert.equal(found.offset % 4, 0);
  }
  assert.ok(world.driver.structures.has(pci.VIRTIO_PCI_CAP_PCI_CFG));
  assert.equal(world.driver.structures.get(pci.VIRTIO_PCI_CAP_DEVICE_CFG)?.sizeBytes, world.device.config.bytes.length);
});

test('§4.1.4.4.1 every queue has a doorbell of its own within the notification structure', async () => {
  await using world = makeWorld();
  const { capability, sizeBytes } = world.driver.structures.get(pci.VIRTIO_PCI_CAP_NOTIFY_CFG) as FoundStructure;
  const multiplier = world.driver.readPci(capability + 16);
  assert.equal(Math.log2(multiplier) % 1, 0);
  const offsets = new Set<number>();
  for (let queue = 0; queue < QUEUES; queue++) {
    world.driver.write(Field.queue_select, queue, 2);
    offsets.add(world.driver.read(Field.queue_notify_off, 2) * multiplier);
  }
  assert.equal(offsets.size, QUEUES);
  assert.ok(Math.max(...offsets) + 2 <= sizeBytes, 'cap.length >= queue_notify_off * notify_off_multiplier + 2');
});

test('a doorbell takes a write of any length, and reads as zero', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  const address = world.driver.addressOf(pci.VIRTIO_PCI_CAP_NOTIFY_CFG);
  assert.deepEqual(world.driver.machine.doorbellPlaces, [{ address, lengthBytes: 0 }]);
  assert.equal(world.driver.machine.read(address, 2), 0);
  for (const sizeBytes of [1, 2, 4]) await readsBack(blocks, () => world.driver.machine.write(address, sizeBytes, 0));
});

test('a kernel without doorbells is logged once for each queue, and everything works', async () => {
  await using world = makeWorld({ refusesDoorbells: true });
  for (let i = 0; i < 3; i++) {
    const blocks = await world.run();
    await readsBack(blocks, () => world.driver.kick(0));
  }
  assert.equal(world.driver.lines.length, 1);
  assert.match(world.driver.lines[0] as string, /queue 0: kicks take the slow path/);
});

test('§4.1.4.3.1 device_feature shows 32 bits from device_feature_select * 32 on, and none beyond 63', async () => {
  await using world = makeWorld();
  const { offeredFeatures } = world.driver.transport.registers;
  for (const select of [0, 1, 2, 0xffff_ffff]) {
    world.driver.write(Field.device_feature_select, select, 4);
    assert.equal(world.driver.read(Field.device_feature_select, 4), select);
    const expected = select > 1 ? 0n : (offeredFeatures >> BigInt(32 * select)) & 0xffff_ffffn;
    assert.equal(BigInt(world.driver.read(Field.device_feature, 4)), expected);
  }
});

test('§4.1.4.3.1 driver_feature shows what the driver wrote', async () => {
  await using world = makeWorld();
  for (const [select, word] of [
    [0, 0x2000_0001],
    [1, 1],
  ] as const) {
    world.driver.write(Field.driver_feature_select, select, 4);
    world.driver.write(Field.driver_feature, word, 4);
    assert.equal(world.driver.read(Field.driver_feature, 4), word);
  }
  world.driver.write(Field.driver_feature_select, 0, 4);
  assert.equal(world.driver.read(Field.driver_feature, 4), 0x2000_0001);
});

test('§4.1.4.3.1 queue_size is the largest on reset, what the driver chose after, 0 for a queue that is not there', async () => {
  await using world = makeWorld();
  assert.equal(world.driver.read(Field.num_queues, 2), QUEUES);
  assert.equal(await world.driver.queueSizeMax(0), 256);
  world.driver.write(Field.queue_size, 64, 2);
  assert.equal(world.driver.read(Field.queue_size, 2), 64);
  await world.driver.reset();
  assert.equal(await world.driver.queueSizeMax(0), 256);
  for (const index of [QUEUES, 0xffff]) assert.equal(await world.driver.queueSizeMax(index), 0);
});

test('§4.1.4.3.1 queue_size presents 0 or a power of 2, whatever is written', async () => {
  await using world = makeWorld();
  world.driver.write(Field.queue_select, 0, 2);
  for (const size of [3, 255, 512, 0xffff]) {
    world.driver.write(Field.queue_size, size, 2);
    assert.equal(world.driver.read(Field.queue_size, 2), 0);
    await world.driver.write(Field.queue_enable, 1, 2);
    assert.equal(world.driver.read(Field.queue_enable, 2), 0);
  }
});

test('§4.1.3.2 the halves of an address are written and read independently', async () => {
  await using world = makeWorld();
  for (const field of [Field.queue_desc, Field.queue_driver, Field.queue_device]) {
    world.driver.write(field + 4, 0x1234, 4);
    world.driver.write(field, 0x5678_9000, 4);
    assert.equal(world.driver.read(field, 4), 0x5678_9000);
    assert.equal(world.driver.read(field + 4, 4), 0x1234);
  }
});

test('§4.1.4.3.1 queue_enable is 0 on reset; writing 0 to it does nothing', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  world.driver.write(Field.queue_select, 0, 2);
  await world.driver.write(Field.queue_enable, 0, 2);
  assert.equal(world.driver.read(Field.queue_enable, 2), 1);
  await readsBack(blocks, () => world.driver.kick(0));
  await world.driver.reset();
  world.driver.write(Field.queue_select, 0, 2);
  assert.equal(world.driver.read(Field.queue_enable, 2), 0);
});

test('§4.1.4.3.1 writing 0 to device_status resets, and it reads 0 once that is done', async () => {
  await using world = makeWorld();
  await world.run();
  const reset = world.driver.write(Field.device_status, 0, 1);
  assert.equal(world.driver.read(Field.device_status, 1) & DeviceStatus.DRIVER_OK, DeviceStatus.DRIVER_OK);
  await reset;
  assert.equal(world.driver.read(Field.device_status, 1), 0);
});

test('§4.1.4.3.1 config_generation changes after the driver read a value that had changed', async () => {
  await using world = makeWorld();
  const generation = (): number => world.driver.read(Field.config_generation, 1);
  const before = generation();
  await world.driver.readConfig(CONFIG.capacity, 4);
  // An 8-bit count of changes would be back where it was.
  for (let i = 0; i < 256; i++) world.device.resize(DISK_BYTES - 512 * (1 + (i % 2)));
  await world.driver.readConfig(CONFIG.capacity, 4);
  assert.notEqual(generation(), before);
  assert.ok(generation() < 256);
});

test('§4.1.3.1 a field is accessed in its own width: others read as zero and write nothing', async () => {
  await using world = makeWorld();
  world.driver.write(Field.queue_select, 0, 2);
  for (const [field, sizeBytes] of [
    [Field.queue_size, 1],
    [Field.queue_size, 4],
    [Field.num_queues, 4],
    [Field.device_feature, 2],
    [Field.queue_size + 1, 1],
  ] as const)
    assert.equal(world.driver.read(field, sizeBytes), 0, `${field}, ${sizeBytes} bytes`);
  world.driver.write(Field.queue_size, 16, 4);
  assert.equal(world.driver.read(Field.queue_size, 2), 256);
});

test('§4.1.4.3 fields of features that are not offered read as zero', async () => {
  await using world = makeWorld();
  await world.run();
  for (const field of [
    Field.queue_notif_config_data,
    Field.queue_reset,
    Field.admin_queue_index,
    Field.admin_queue_num,
  ]) {
    world.driver.write(field, 1, 2);
    assert.equal(world.driver.read(field, 2), 0);
  }
  assert.equal(await world.driver.isBroken(), false);
});

test('§4.1.4.5.1 ISR status shows queue and configuration interrupts, and reading clears it', async () => {
  await using world = makeWorld();
  world.driver.controlMsix(0);
  const blocks = await world.run();
  const isr = (): number => world.driver.machine.read(world.driver.addressOf(pci.VIRTIO_PCI_CAP_ISR_CFG), 1);
  await settle();
  isr();
  assert.equal(isr(), 0);
  await readsBack(blocks, () => world.driver.kick(0));
  await eventually('the interrupt status', () => (world.driver.readPci(pci.PciConfig.status, 2) & 8) !== 0);
  assert.equal(isr(), pci.ISR_QUEUE);
  assert.equal(isr(), 0);
  world.device.resize(DISK_BYTES / 2);
  assert.equal(isr(), pci.ISR_CONFIG);
  assert.equal(isr(), 0);
  assert.equal(world.driver.readPci(pci.PciConfig.status, 2) & 8, 0);
});

test('§2.4 a reset clears the ISR status', async () => {
  await using world = makeWorld();
  world.driver.controlMsix(0);
  const blocks = await world.run();
  await readsBack(blocks, () => world.driver.kick(0));
  world.device.resize(DISK_BYTES / 2);
  await world.driver.reset();
  assert.equal(world.driver.machine.read(world.driver.addressOf(pci.VIRTIO_PCI_CAP_ISR_CFG), 1), 0);
});

test('§4.1.4.5.1 with MSI-X a configuration change sets its ISR bit as well, and the status of the function nothing', async () => {
  await using world = makeWorld();
  await world.run();
  world.device.resize(DISK_BYTES / 2);
  assert.equal(world.driver.readPci(pci.PciConfig.status, 2) & 8, 0);
  assert.equal(world.driver.tookConfigInterrupt(), true);
  assert.equal(world.driver.machine.read(world.driver.addressOf(pci.VIRTIO_PCI_CAP_ISR_CFG), 1), pci.ISR_CONFIG);
});

test('§4.1.5.1.2.1 a queue’s interrupts go where its vector leads, and nowhere else, while it runs', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  const came = async (): Promise<readonly number[]> => {
    await settle();
    const vectors = [0, 1, 2, 3];
    for (const vector of vectors) world.driver.took(vector);
    await readsBack(blocks, () => world.driver.kick(0));
    await settle();
    return vectors.filter((vector) => world.driver.took(vector));
  };
  world.driver.write(Field.queue_select, 0, 2);
  for (const vector of [1, 3, 0, 2]) {
    world.driver.write(Field.queue_msix_vector, vector, 2);
    assert.deepEqual(await came(), [vector]);
  }
  world.driver.write(Field.queue_msix_vector, pci.VIRTIO_MSI_NO_VECTOR, 2);
  assert.deepEqual(await came(), []);
  world.driver.write(Field.queue_msix_vector, 1, 2);
  world.driver.controlMsix(0);
  assert.deepEqual(await came(), []);
  assert.equal(world.driver.machine.read(world.driver.addressOf(pci.VIRTIO_PCI_CAP_ISR_CFG), 1), pci.ISR_QUEUE);
  world.driver.controlMsix(pci.MSIX_CONTROL_ENABLE);
  assert.deepEqual(await came(), [1]);
});

test('§4.1.4.9.1 pci_cfg_data is a window into the BAR, also while that answers nowhere', async () => {
  await using world = makeWorld();
  const { capability } = world.driver.structures.get(pci.VIRTIO_PCI_CAP_PCI_CFG) as FoundStructure;
  const { bar, offset, sizeBytes, extra: data } = pci.VirtioCapability;
  const aim = (at: number, bytes: number): void => {
    world.driver.writePci(capability + bar, 0, 1);
    world.driver.writePci(capability + offset, at);
    world.driver.writePci(capability + sizeBytes, bytes);
  };
  world.driver.command(0);
  aim(Field.num_queues, 2);
  assert.equal(world.driver.readPci(capability + data), QUEUES);
  aim(Field.device_status, 1);
  await world.driver.writePci(capability + data, 3);
  assert.equal(world.driver.transport.registers.status, 3);
  assert.equal(world.driver.readPci(capability + data), 3);
  for (const [at, bytes] of [
    [Field.num_queues, 3],
    [pci.Bar0.device + CONFIG.blk_size + 1, 2],
    [pci.BAR0_BYTES, 4],
  ] as const) {
    aim(at, bytes);
    await world.driver.writePci(capability + data, 0);
    assert.equal(world.driver.readPci(capability + data), 0, 'no window there');
  }
  assert.equal(world.driver.transport.registers.status, 3);
});

test('nonsense in the configuration space and in both BARs: nothing throws, and a driver can begin again', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    await using world = makeWorld();
    const random = new SeededRandom(seed);
    const { machine } = world.driver;
    const bars = [world.driver.barAddress(0), world.driver.barAddress(1)] as const;
    const writes: (void | Promise<void>)[] = [];
    for (let step = 0; step < 400; step++) {
      const sizeBytes = random.of([1, 2, 4]);
      const value = random.of([0, 1, 2, 4, 8, 0xf, 16, 0xc000, random.uint32()]) % 2 ** (8 * sizeBytes);
      const where = random.below(4);
      let read: number;
      if (where === 0) {
        const register = random.below(256 / sizeBytes) * sizeBytes;
        writes.push(world.driver.writePci(register, value, sizeBytes));
        read = world.driver.readPci(register, sizeBytes);
      } else {
        const size = where === 1 ? pci.BAR1_BYTES : random.of([0x40, pci.BAR0_BYTES]);
        const address = bars[where === 1 ? 1 : 0] + random.below(size / sizeBytes) * sizeBytes;
        writes.push(machine.write(address, sizeBytes, value));
        read = machine.read(address, sizeBytes);
      }
      assert.ok(read >= 0 && read < 2 ** (8 * sizeBytes), `seed ${seed}, step ${step}: ${read}`);
      if (random.oneIn(8)) await settle();
    }
    await Promise.all(writes);
    await world.driver.command(0);
    for (const bar of [0, 1]) world.driver.writePci(pci.PciConfig.bar0 + 4 * bar, bars[bar] as number);
    await world.driver.command(MEMORY_AND_DMA);
    world.driver.enableMsix();
    const blocks = await world.run();
    await readsBack(blocks, () => world.driver.kick(0));
    assert.ok(world.driver.lines.length < 30, `seed ${seed}: ${world.driver.lines.length} lines`);
  }
});
