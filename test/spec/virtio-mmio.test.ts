// test/spec: virtio-mmio register by register, VIRTIO 1.3 §4.2.2: what each reads, what each takes, and when it does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG } from '../../src/devices/blk/spec.ts';
import type { BlockDriver } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { StandInOptions } from '../../src/testing/stand-in-machine.ts';
import { MMIO_BYTES, MmioRegister as Reg } from '../../src/transports/bus/mmio/spec.ts';
import { DeviceStatus } from '../../src/virtio/spec.ts';
import { DISK_BYTES, type DrivenDevice, driveDevice, QUEUES } from './driven-device.ts';

const { DRIVER_OK } = DeviceStatus;

function makeWorld(options: StandInOptions = {}): DrivenDevice<MmioDriver> {
  return driveDevice((device, guest) => new MmioDriver(device, guest, options));
}

/** Makes a read available and notifies by `ring`; returns the data. */
async function readsBack(blocks: BlockDriver, ring: () => void): Promise<number> {
  blocks.add(blockRequest.read(1, 512));
  blocks.queue.publish();
  ring();
  let count = 0;
  await eventually('the read', () => {
    count += blocks.harvest().length;
    return count > 0;
  });
  return count;
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('§4.2.2.1 MagicValue, Version, DeviceID and VendorID', async () => {
  await using world = makeWorld();
  assert.equal(world.driver.read(Reg.MagicValue), 0x74726976);
  assert.equal(world.driver.read(Reg.Version), 2);
  assert.equal(world.driver.read(Reg.DeviceID), 2);
  assert.notEqual(world.driver.read(Reg.VendorID), 0);
});

test('§4.2.2 DeviceFeatures shows 32 bits from DeviceFeaturesSel * 32 on, and none beyond 63', async () => {
  await using world = makeWorld();
  const { offeredFeatures } = world.driver.transport.registers;
  for (const select of [0, 1, 2, 3, 0xffff_ffff, 0]) {
    world.driver.write(Reg.DeviceFeaturesSel, select);
    const expected = select > 1 ? 0n : (offeredFeatures >> BigInt(32 * select)) & 0xffff_ffffn;
    assert.equal(BigInt(world.driver.read(Reg.DeviceFeatures)), expected, `${select}`);
  }
});

test('§4.2.2 DriverFeatures sets 32 bits, and does not add to what was there', async () => {
  await using world = makeWorld();
  const { registers } = world.driver.transport;
  world.driver.write(Reg.DriverFeaturesSel, 0);
  world.driver.write(Reg.DriverFeatures, 0xffff_ffff);
  world.driver.write(Reg.DriverFeatures, 0x8000_0001);
  world.driver.write(Reg.DriverFeaturesSel, 1);
  world.driver.write(Reg.DriverFeatures, 1);
  assert.equal(registers.features, 0x1_8000_0001n);
  await world.driver.reset();
  assert.equal(registers.features, 0n);
});

test('§4.2.2 QueueSizeMax is zero for a queue that is not there', async () => {
  await using world = makeWorld();
  for (let index = 0; index < QUEUES; index++) assert.equal(await world.driver.queueSizeMax(index), 256);
  for (const index of [QUEUES, 255, 0x1_0000, 0xffff_ffff]) assert.equal(await world.driver.queueSizeMax(index), 0);
});

test('the registers of a queue that is not there take nothing and read as zero', async () => {
  await using world = makeWorld();
  world.driver.write(Reg.QueueSel, QUEUES);
  for (const register of [Reg.QueueSize, Reg.QueueDescLow, Reg.QueueDriverHigh, Reg.QueueDeviceLow, Reg.QueueReady])
    await world.driver.write(register, 1);
  assert.equal(world.driver.read(Reg.QueueReady), 0);
  assert.equal(world.driver.transport.registers.queues.filter(({ ready }) => ready).length, 0);
});

test('§4.2.2.2 a size above QueueSizeMax or of no power of two is not taken: the queue does not become ready', async () => {
  await using world = makeWorld();
  for (const size of [0, 3, 257, 512, 0xffff_ffff]) {
    world.driver.write(Reg.QueueSize, size);
    await world.driver.write(Reg.QueueReady, 1);
    assert.equal(world.driver.read(Reg.QueueReady), 0, `${size}`);
  }
  world.driver.write(Reg.QueueSize, 256);
  await world.driver.write(Reg.QueueReady, 1);
  assert.equal(world.driver.read(Reg.QueueReady), 1);
});

test('§4.2.2.2 a ready queue keeps its size and its addresses', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  world.driver.write(Reg.QueueSel, 0);
  for (const register of [Reg.QueueSize, Reg.QueueDescLow, Reg.QueueDriverLow, Reg.QueueDeviceLow])
    world.driver.write(register, 32);
  const queue = world.driver.transport.registers.queue(0);
  assert.equal(queue?.size, 16);
  assert.equal(queue?.addressWord('descriptorArea', 0), blocks.queue.addresses.descriptorArea);
  assert.equal(await readsBack(blocks, () => world.driver.kick(0)), 1);
});

test('§4.2.2.1 the device leaves a queue alone while QueueReady is zero', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  world.driver.write(Reg.QueueSel, 0);
  await world.driver.write(Reg.QueueReady, 0);
  assert.equal(world.driver.read(Reg.QueueReady), 0);
  blocks.add(blockRequest.read(0, 512));
  blocks.queue.publish();
  world.driver.kick(0);
  await settle();
  assert.deepEqual(blocks.harvest(), []);
});

test('§4.2.3.3 QueueNotify rings the queue whose index is written, by the doorbell and by an exit alike', async () => {
  for (const refusesDoorbells of [false, true]) {
    await using world = makeWorld({ refusesDoorbells });
    const blocks = await world.run();
    assert.equal(await readsBack(blocks, () => world.driver.write(Reg.QueueNotify, 0)), 1);
  }
});

test('the doorbell of a queue is a write of 4 bytes at QueueNotify with its index, while it runs', async () => {
  await using world = makeWorld();
  assert.deepEqual(world.driver.machine.doorbellPlaces, []);
  await world.run();
  assert.deepEqual(world.driver.machine.doorbellPlaces, [{ address: 0xd000_0050, lengthBytes: 4, value: 0 }]);
  await world.driver.reset();
  assert.deepEqual(world.driver.machine.doorbellPlaces, []);
});

test('a kernel without doorbells is logged once for each queue, and everything works', async () => {
  await using world = makeWorld({ refusesDoorbells: true });
  for (let i = 0; i < 3; i++) {
    const blocks = await world.run();
    assert.equal(await readsBack(blocks, () => world.driver.kick(0)), 1);
  }
  assert.deepEqual(world.driver.lines, [
    'queue 0: kicks take the slow path, out of the guest: this kernel has no room for doorbells',
  ]);
});

test('§4.2.3.4 an interrupt comes with its bit in InterruptStatus', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  world.driver.machine.takeLine();
  blocks.queue.requestCalls();
  await readsBack(blocks, () => world.driver.kick(0));
  await eventually('the line', () => world.driver.machine.takeLine());
  assert.equal(world.driver.read(Reg.InterruptStatus), 1);
});

test('§4.2.2.1 a configuration change stays in InterruptStatus until it is acknowledged', async () => {
  await using world = makeWorld();
  await world.run();
  assert.equal(world.driver.read(Reg.InterruptStatus), 1);
  world.device.resize(DISK_BYTES / 2);
  assert.equal(world.driver.machine.takeLine(), true);
  assert.equal(world.driver.read(Reg.InterruptStatus), 3);
  world.driver.write(Reg.InterruptACK, 1);
  assert.equal(world.driver.read(Reg.InterruptStatus), 3);
  world.driver.write(Reg.InterruptACK, 2);
  assert.equal(world.driver.read(Reg.InterruptStatus), 1);
});

test('§4.2.2.1 a reset clears InterruptStatus, Status, and QueueReady of every queue', async () => {
  await using world = makeWorld();
  await world.run();
  world.device.resize(DISK_BYTES / 2);
  await world.driver.reset();
  assert.equal(world.driver.read(Reg.InterruptStatus), 0);
  assert.equal(world.driver.read(Reg.Status), 0);
  for (let index = 0; index < QUEUES; index++) {
    world.driver.write(Reg.QueueSel, index);
    assert.equal(world.driver.read(Reg.QueueReady), 0);
  }
});

test('§2.4 Status keeps its value until the reset is complete, and takes nothing meanwhile', async () => {
  await using world = makeWorld();
  await world.run();
  const reset = world.driver.write(Reg.Status, 0);
  assert.equal(world.driver.read(Reg.Status) & DRIVER_OK, DRIVER_OK);
  world.driver.write(Reg.Status, 1);
  await Promise.all([reset, world.driver.write(Reg.Status, 0)]);
  assert.equal(world.driver.read(Reg.Status), 0);
});

test('§4.2.2 there is no shared memory: its length and its place read as all ones', async () => {
  await using world = makeWorld();
  for (const id of [0, 1, 255]) {
    world.driver.write(Reg.SHMSel, id);
    for (const register of [Reg.SHMLenLow, Reg.SHMLenHigh, Reg.SHMBaseLow, Reg.SHMBaseHigh])
      assert.equal(world.driver.read(register), 0xffff_ffff);
  }
});

test('§4.2.2 QueueReset reads as zero and does nothing: VIRTIO_F_RING_RESET is not offered', async () => {
  await using world = makeWorld();
  const blocks = await world.run();
  world.driver.write(Reg.QueueSel, 0);
  world.driver.write(Reg.QueueReset, 1);
  assert.equal(world.driver.read(Reg.QueueReset), 0);
  assert.equal(world.driver.read(Reg.QueueReady), 1);
  assert.equal(await readsBack(blocks, () => world.driver.kick(0)), 1);
});

test('§4.2.2.1 ConfigGeneration changes where the driver could see two versions of the configuration, and only there', async () => {
  await using world = makeWorld();
  await world.run();
  const generation = (): number => world.driver.read(Reg.ConfigGeneration);
  const before = generation();
  const low = world.driver.read(Reg.Config + CONFIG.capacity);
  assert.equal(generation(), before);
  world.device.resize(DISK_BYTES / 2);
  assert.notEqual(world.driver.read(Reg.Config + CONFIG.capacity), low);
  const after = generation();
  assert.notEqual(after, before);
  world.driver.read(Reg.Config + CONFIG.capacity + 4);
  assert.equal(generation(), after);
});

test('§4.2.2.2 control registers are 4 bytes wide: other widths read as zero and write nothing', async () => {
  await using world = makeWorld();
  for (const sizeBytes of [1, 2]) {
    for (let offset = 0; offset < Reg.Config; offset++) assert.equal(world.driver.read(offset, sizeBytes), 0);
    await world.driver.write(Reg.Status, 1, sizeBytes);
    assert.equal(world.driver.read(Reg.Status), 0);
  }
});

test('§4.2.2.2 what is not in the table, or not to be read, reads as zero', async () => {
  await using world = makeWorld();
  await world.run();
  const readable: readonly number[] = [
    Reg.MagicValue,
    Reg.Version,
    Reg.DeviceID,
    Reg.VendorID,
    Reg.DeviceFeatures,
    Reg.QueueSizeMax,
    Reg.QueueReady,
    Reg.InterruptStatus,
    Reg.Status,
    Reg.SHMLenLow,
    Reg.SHMLenHigh,
    Reg.SHMBaseLow,
    Reg.SHMBaseHigh,
    Reg.ConfigGeneration,
  ];
  for (let offset = 0; offset < Reg.Config; offset++)
    if (!readable.includes(offset)) assert.equal(world.driver.read(offset), 0, `0x${offset.toString(16)}`);
});

test('§4.2.2.2 what is only to be read takes nothing', async () => {
  await using world = makeWorld();
  await world.run();
  const registers = [Reg.MagicValue, Reg.Version, Reg.DeviceID, Reg.VendorID, Reg.QueueSizeMax, Reg.ConfigGeneration];
  const before = registers.map((register) => world.driver.read(register));
  for (const register of [...registers, Reg.DeviceFeatures, Reg.InterruptStatus, Reg.SHMLenLow])
    await world.driver.write(register, 0xdead_beef);
  assert.deepEqual(
    registers.map((register) => world.driver.read(register)),
    before,
  );
});

test('nonsense in every register: nothing throws, every answer is a number, and a reset ends it', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    await using world = makeWorld();
    const random = new SeededRandom(seed);
    const writes: (void | Promise<void>)[] = [];
    for (let step = 0; step < 400; step++) {
      const sizeBytes = random.of([1, 2, 4, 4, 4]);
      const offset = random.oneIn(4) ? random.below(MMIO_BYTES - 4) : random.of(Object.values(Reg));
      const value = random.of([0, 1, 2, 4, 8, 0xf, 16, random.uint32(), random.below(256), 1 << 20]);
      if (random.flip()) writes.push(world.driver.write(offset, value % 2 ** (8 * sizeBytes), sizeBytes));
      const read = world.driver.read(offset, sizeBytes);
      assert.ok(read >= 0 && read < 2 ** (8 * sizeBytes), `seed ${seed}, step ${step}: ${read}`);
      if (random.oneIn(8)) await settle();
    }
    await Promise.all(writes);
    const blocks = await world.run();
    assert.equal(await readsBack(blocks, () => world.driver.kick(0)), 1, `seed ${seed}`);
    assert.ok(world.driver.lines.length < 30, `seed ${seed}: ${world.driver.lines.length} lines`);
  }
});
