// test/spec: hvisor's bridge where the hypervisor, its driver or the original daemon go wrong: each case by name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as blk from '../../src/devices/blk/spec.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { HvisorDriver } from '../../src/testing/hvisor-driver.ts';
import { HvisorStandIn, type ZoneAccess } from '../../src/testing/hvisor-stand-in.ts';
import { eventually } from '../../src/testing/patience.ts';
import { type DrivenQueue, settle, TransportWorld } from '../../src/testing/transport-world.ts';
import { MMIO_MAGIC, MmioRegister as Reg } from '../../src/transports/bus/mmio/spec.ts';
import { Bridge } from '../../src/transports/hvisor/bridge.ts';
import { BRIDGE_CPUS, BRIDGE_SLOTS } from '../../src/transports/hvisor/bridge-layout.ts';
import { BridgePage } from '../../src/transports/hvisor/bridge-page.ts';
import { VIRTIO_F_VERSION_1, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from '../../src/virtio/spec.ts';

const SECTOR = 512;
const IRQ = 78;

interface World extends AsyncDisposable {
  readonly world: TransportWorld;
  readonly driver: HvisorDriver;
  readonly standIn: HvisorStandIn;
  readonly bridge: Bridge;
}

function makeWorld(): World {
  const world = new TransportWorld((device, guest) => new HvisorDriver(device, guest));
  const driver = world.driver as HvisorDriver;
  const { standIn, bridge } = driver;
  return { world, driver, standIn, bridge, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** A running disk whose driver has handled every interrupt so far. */
async function running(world: TransportWorld): Promise<DrivenQueue> {
  const [queue] = await world.run();
  await settle();
  world.driver.tookUsedInterrupt(0);
  return queue as DrivenQueue;
}

test('the start-up window of the original: a request from before the daemon is served without a wake-up', async () => {
  await using world = new TransportWorld((device, guest) => new HvisorDriver(device, guest));
  const driver = world.driver as HvisorDriver;
  using standIn = new HvisorStandIn(world.guest.fd);
  using port = standIn.open();
  const read: ZoneAccess = { zone: 1, cpu: 0, address: 0x1000, sizeBytes: 4, isWrite: false };
  const isAnswered = standIn.access(read);
  using bridge = new Bridge(port, driver.loop, () => {});
  bridge.attach({ zone: 1, address: 0x1000, sizeBytes: 4, registers: { read: () => 7, write: () => {} } });
  bridge.start();
  assert.equal(isAnswered?.(), true);
  assert.deepEqual([standIn.wakeups, standIn.answerOf(0)], [0, 7n]);
});

test('a wake-up that hvisor drops is found by the time-out, and counted', async () => {
  await using hvisor = makeWorld();
  await settle();
  hvisor.standIn.faults.dropWakeups = 1;
  const isAnswered = hvisor.standIn.access(hvisor.driver.accessAt(Reg.MagicValue, 4, false));
  await eventually('the answer', () => isAnswered?.() === true);
  assert.equal(hvisor.bridge.counters.lateWakeups, 1);
});

test('no wake-up is late where hvisor drops none; spurious wake-ups do nothing', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  for (let i = 0; i < 50; i++) {
    hvisor.standIn.wake();
    await queue.serve(blockRequest.read(i % 8, SECTOR));
  }
  assert.equal(hvisor.standIn.hasRequests, false);
  assert.ok(hvisor.bridge.counters.lateWakeups <= 1, 'one may be on its way when the time-out looks');
});

test('an interrupt that hvisor drops is injected again until the driver acknowledges it', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  const { repeated } = hvisor.bridge.counters;
  // More than the queue sends by itself.
  hvisor.standIn.faults.dropInjections = 5;
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(0, SECTOR));
  await queue.interrupted();
  assert.ok(hvisor.bridge.counters.repeated > repeated);
});

test('an interrupt between the acknowledgement and the end of interrupt of the one before is not lost', async () => {
  await using hvisor = makeWorld();
  const { driver, standIn, world } = hvisor;
  const queue = await running(world);
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(0, SECTOR));
  await eventually('the interrupt', () => standIn.takeInterrupt(1, IRQ));
  driver.write(Reg.InterruptACK, driver.read(Reg.InterruptStatus));
  const { injected } = hvisor.bridge.counters;
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(1, SECTOR));
  await eventually('its injection, which hvisor drops', () => hvisor.bridge.counters.injected > injected);
  await settle();
  standIn.endOfInterrupt(1, IRQ);
  await queue.interrupted();
});

test('an acknowledged interrupt is not repeated; a reset ends the repetition', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(0, SECTOR));
  await queue.interrupted();
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(0, SECTOR));
  await hvisor.driver.reset();
  await settle();
  const { injected } = hvisor.bridge.counters;
  let isOver = false;
  // Time: longer than the first repetitions would take.
  const timer = hvisor.driver.loop.timer(100, () => (isOver = true));
  await eventually('the time of some repetitions', () => isOver);
  timer[Symbol.dispose]();
  assert.equal(hvisor.bridge.counters.injected, injected);
});

test('31 requests fill the ring; the next CPU waits for room', async () => {
  await using hvisor = makeWorld();
  await settle();
  const read = hvisor.driver.accessAt(Reg.MagicValue, 4, false);
  for (let cpu = 0; cpu < BRIDGE_SLOTS - 1; cpu++) assert.ok(hvisor.standIn.push({ ...read, cpu }), `${cpu}`);
  assert.equal(hvisor.standIn.push({ ...read, cpu: 31 }), false);
  await eventually('room', () => !hvisor.standIn.hasRequests);
  for (let cpu = 0; cpu < BRIDGE_SLOTS - 1; cpu++) {
    assert.equal(hvisor.standIn.answersOf(cpu), 1, `CPU ${cpu}`);
    assert.equal(hvisor.standIn.answerOf(cpu), BigInt(MMIO_MAGIC));
  }
});

test('an answer is as wide as the read, and zero above', async () => {
  await using hvisor = makeWorld();
  hvisor.driver.read(Reg.MagicValue);
  const config = hvisor.world.device.config.bytes;
  for (let at = 0; at < config.length; at++) {
    hvisor.driver.read(Reg.Config + at, 1);
    assert.equal(hvisor.standIn.answerOf(3), BigInt(config[at] as number));
  }
});

test('an access at the offset of QueueNotify has no answer, a read of it neither', async () => {
  await using hvisor = makeWorld();
  const { driver, standIn } = hvisor;
  const before = standIn.answersOf(3);
  standIn.push(driver.accessAt(Reg.QueueNotify, 4, false));
  driver.kick(0);
  standIn.push({ ...driver.accessAt(Reg.QueueNotify, 4, true), address: 0x5000_0050, isAsynchronous: true });
  await eventually('the requests to be taken', () => !standIn.hasRequests);
  assert.equal(standIn.answersOf(3), before);
  assert.equal(hvisor.bridge.counters.unmatched, 1);
});

test('an address without a device reads as 0; so does one of another zone, or an access across the end', async () => {
  await using hvisor = makeWorld();
  const { driver, standIn } = hvisor;
  const accesses: ZoneAccess[] = [
    { ...driver.accessAt(0, 4, false), zone: 2 },
    driver.accessAt(0x200, 4, false),
    driver.accessAt(0x1fe, 4, false),
    driver.accessAt(0, 8, false),
    driver.accessAt(-4, 4, false),
    { ...driver.accessAt(0, 4, false), address: 2 ** 60 },
  ];
  for (const access of accesses) {
    const isAnswered = standIn.access(access);
    await eventually('an answer', () => isAnswered?.() === true);
    assert.equal(standIn.answerOf(3), 0n);
  }
  assert.equal(hvisor.bridge.counters.unmatched, accesses.length);
});

test('a CPU that hvisor cannot have is not answered, and nothing else of the page changes', async () => {
  await using hvisor = makeWorld();
  for (const cpu of [BRIDGE_CPUS, 1000, 2 ** 40]) hvisor.standIn.push({ ...hvisor.driver.accessAt(0, 4, false), cpu });
  await eventually('the requests to be taken', () => !hvisor.standIn.hasRequests);
  assert.equal(hvisor.driver.read(Reg.MagicValue), MMIO_MAGIC);
  assert.match(hvisor.driver.lines.join('\n'), /which hvisor cannot have/);
});

test('a full result ring holds interrupts back, and none is lost', async () => {
  await using hvisor = makeWorld();
  await running(hvisor.world);
  hvisor.standIn.faults.leavesResults = true;
  for (let i = 0; i < 2 * BRIDGE_SLOTS; i++) hvisor.bridge.inject(1, IRQ);
  hvisor.bridge.inject(1, IRQ + 1);
  assert.ok(hvisor.bridge.counters.heldBack > 0);
  hvisor.standIn.faults.leavesResults = false;
  await eventually('the one that was held', () => hvisor.standIn.takeInterrupt(1, IRQ + 1));
  assert.equal(hvisor.standIn.takeInterrupt(1, IRQ), true);
});

test('a FINISH_REQ that fails is logged, and its interrupt comes with the next', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  hvisor.standIn.faults.refusesFinish = true;
  queue.ring.requestCalls();
  await queue.serve(blockRequest.read(0, SECTOR));
  await eventually('the line', () => hvisor.driver.lines.some((line) => line.includes('FINISH_REQ')));
  hvisor.standIn.faults.refusesFinish = false;
  await queue.interrupted();
});

test('a zone that goes away with requests in flight, and comes back, is served again', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  hvisor.world.closeGate();
  queue.submit(blockRequest.read(0, SECTOR));
  await eventually('the read to begin', () => hvisor.world.waitingReads === 1);
  hvisor.standIn.zones.delete(1);
  hvisor.world.openGate();
  await settle();
  hvisor.standIn.zones.add(1);
  const again = await running(hvisor.world);
  const [result] = await again.serve(blockRequest.read(3, SECTOR));
  assert.deepEqual(result?.data, hvisor.world.disk.slice(3 * SECTOR, 4 * SECTOR));
});

test('a second INIT has a new page: what comes from then on is the second daemon’s', async () => {
  await using hvisor = makeWorld();
  const { driver, standIn, bridge } = hvisor;
  driver.read(Reg.MagicValue);
  const { requests } = bridge.counters;
  using port = standIn.open();
  using second = new Bridge(port, driver.loop, () => {});
  second.start();
  const isAnswered = standIn.access(driver.accessAt(Reg.MagicValue, 4, false));
  await eventually('the answer of the second', () => isAnswered?.() === true);
  assert.deepEqual([bridge.counters.requests, second.counters.requests], [requests, 1]);
});

test('defect 1 and 2: a driver that kicks and is interrupted only when it is asked for never waits', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  for (let i = 0; i < 100; i++) {
    queue.ring.requestCalls();
    await queue.serve(blockRequest.read(i % 8, SECTOR));
    await queue.interrupted();
  }
});

for (const [name, length] of [
  ['defect 4: an empty indirect table stops the queue instead of skipping a request', 0],
  ['defect 5: a malformed chain is not completed, with no length at all', 24],
] as const)
  test(name, async () => {
    await using hvisor = makeWorld();
    const { world, driver } = hvisor;
    const queue = await running(world);
    const used = queue.ring.used[1];
    queue.ring.writeDescriptor(0, world.guest.region.guestAddress, length, VIRTQ_DESC_F_INDIRECT, 0);
    queue.ring.available[2] = 0;
    queue.ring.available[1] = (queue.ring.available[1] as number) + 1;
    driver.kick(0);
    await eventually('the device to need a reset', () => driver.isBroken());
    assert.equal(queue.ring.used[1], used);
  });

test('defect 6 and 7: nothing is read beyond the capacity, and a request has no more segments than the ring holds', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  const [result] = await queue.serve(blockRequest.read(hvisor.world.disk.length / SECTOR - 1, 2 * SECTOR));
  assert.equal(result?.status, blk.VIRTIO_BLK_S_IOERR);
  const segMax = await hvisor.driver.readConfig(blk.CONFIG.seg_max, 4);
  assert.ok(segMax <= (await hvisor.driver.queueSizeMax(0)) - 2, `${segMax}`);
});

test('defect 8: QueueSel of any value selects no memory of the daemon', async () => {
  await using hvisor = makeWorld();
  const { driver, world } = hvisor;
  for (const index of [4, 5, 1000, 0x7fff_ffff, 0xffff_ffff]) {
    driver.write(Reg.QueueSel, index);
    for (const register of [Reg.QueueSize, Reg.QueueReady, Reg.QueueDescLow, Reg.QueueDescHigh, Reg.QueueReset])
      await driver.write(register, 0xffff_ffff);
    assert.equal(driver.read(Reg.QueueSizeMax), 0);
    assert.equal(driver.read(Reg.QueueReady), 0);
  }
  await driver.reset();
  assert.equal((await (await running(world)).serve(blockRequest.read(0, SECTOR))).length, 1);
});

test('defect 9: beyond the configuration space there are zeroes', async () => {
  await using hvisor = makeWorld();
  for (let offset = hvisor.world.device.config.bytes.length; offset < 0x100; offset += 4)
    assert.equal(await hvisor.driver.readConfig(offset, 4), 0);
});

test('defect 10: features and addresses do not add up over initialisations', async () => {
  await using hvisor = makeWorld();
  const { world } = hvisor;
  await world.run();
  await world.run(VIRTIO_F_VERSION_1);
  assert.equal((world.activated.at(-1) as bigint) & world.device.features, 0n);
});

test('defect 12: a buffer outside what the zones file names stops the queue, and no byte is touched', async () => {
  await using hvisor = makeWorld();
  const { world, driver } = hvisor;
  const queue = await running(world);
  const end = world.guest.region.guestAddress + world.guest.region.sizeBytes;
  queue.ring.writeDescriptor(0, end, SECTOR, VIRTQ_DESC_F_WRITE, 0);
  queue.ring.available[2] = 0;
  queue.ring.available[1] = (queue.ring.available[1] as number) + 1;
  driver.kick(0);
  await eventually('the device to need a reset', () => driver.isBroken());
});

test('defect 13: a reset that waits for a request in flight makes no other CPU wait', async () => {
  await using hvisor = makeWorld();
  const { driver, standIn, world } = hvisor;
  const queue = await running(world);
  world.closeGate();
  queue.submit(blockRequest.read(0, SECTOR));
  await eventually('the read to begin', () => world.waitingReads === 1);
  const isReset = standIn.access(driver.accessAt(Reg.Status, 4, true, 0n));
  const isRead = standIn.access({ ...driver.accessAt(Reg.MagicValue, 4, false), cpu: 7 });
  await eventually('the answer to the other CPU', () => isRead?.() === true);
  await settle();
  assert.equal(isReset?.(), false, 'the reset waits');
  world.openGate();
  await eventually('the end of the reset', () => isReset?.() === true);
});

test('document 004: a serial number has its whole length, and a failed read still has a status', async () => {
  await using hvisor = makeWorld();
  const queue = await running(hvisor.world);
  const [id] = await queue.serve(blockRequest.getId());
  assert.deepEqual([id?.status, id?.data.length], [blk.VIRTIO_BLK_S_OK, blk.ID_BYTES]);
  const [failed] = await queue.serve(blockRequest.read(2 ** 40, SECTOR));
  assert.equal(failed?.status, blk.VIRTIO_BLK_S_IOERR);
});

test('two devices of a zone cannot have one address', async () => {
  await using hvisor = makeWorld();
  const registers = { read: () => 0, write: () => {} };
  const { address } = hvisor.driver.accessAt(0x1fc, 4, false);
  assert.throws(() => hvisor.bridge.attach({ zone: 1, address, sizeBytes: 4, registers }), /share address 0xa003dfc/);
  hvisor.bridge.attach({ zone: 2, address, sizeBytes: 4, registers })[Symbol.dispose]();
});

test('the page: 64-bit addresses beyond 2^53 are nowhere, and indices are cut to the ring', () => {
  const bytes = new Uint8Array(4096);
  const page = new BridgePage(bytes);
  new DataView(bytes.buffer).setUint32(4, 0xffff_ffe1, true);
  new DataView(bytes.buffer).setBigUint64(16 + 8, 2n ** 63n, true);
  assert.equal(page.take(), true);
  assert.equal(page.request.address, Number.POSITIVE_INFINITY);
  assert.equal(page.take(), false);
});
