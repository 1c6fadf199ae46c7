// test/spec: all operations that move queues, in random order and concurrently, under a driver that goes on. Seeded.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import type { BlockStore } from '../../src/devices/blk/block-store.ts';
import { BlockDriver } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import type { DeviceHost } from '../../src/transports/queue/queue-host.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';

const DISK_BYTES = 64 * 1024;
const SECTOR = 512;
const QUEUES = 2;
const SEEDS = 12;
const STEPS = 80;

type Driver = MmioDriver | PciDriver;

/** A disk whose reads take a while, sometimes. */
function slowStore(disk: Uint8Array, random: SeededRandom): BlockStore {
  return {
    sizeBytes: DISK_BYTES,
    read(offset, into) {
      const serve = (): void => into.set(disk.subarray(offset, offset + into.length));
      return random.oneIn(3) ? new Promise<void>((resolve) => setImmediate(resolve)).then(serve) : serve();
    },
  };
}

/** A host that answers when it pleases, as one in another process does. */
function lateHost(host: LocalHost): DeviceHost {
  const later = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  async function late<T>(answer: () => Promise<T>): Promise<T> {
    await later();
    const value = await answer();
    await later();
    return value;
  }
  return {
    device: host.device,
    events: undefined,
    setMemory: (regions) => host.setMemory(regions),
    start: (index, setup) => late(() => host.start(index, setup)),
    stop: (index) => late(() => host.stop(index)),
    setCall: (index, call) => host.setCall(index, call),
    activate: (features) => host.activate(features),
    writeConfig: (offset, bytes) => host.writeConfig(offset, bytes),
    reset: () => host.reset(),
  };
}

async function run(driver: Driver, guest: RawGuest): Promise<BlockDriver[]> {
  await driver.reset();
  const features = await driver.offered();
  assert.ok(await driver.accept(features));
  const queues: BlockDriver[] = [];
  for (let index = 0; index < QUEUES; index++) {
    const ring = new DriverQueue(guest.memory, { size: 16, features });
    assert.ok(await driver.setUp(index, 16, ring.addresses));
    queues.push(new BlockDriver(guest.memory, ring));
  }
  await driver.start();
  return queues;
}

function submit(driver: Driver, queues: readonly BlockDriver[], random: SeededRandom): void {
  const index = random.below(QUEUES);
  const blocks = queues[index] as BlockDriver;
  const room = Math.floor(blocks.queue.freeDescriptors / 3);
  for (let i = random.below(1 + room); i > 0; i--) blocks.add(blockRequest.read(random.below(128), SECTOR));
  blocks.queue.publish();
  if (blocks.queue.needsKick()) driver.kick(index);
}

/** Takes what came back, which is what the disk holds. */
function harvest(queues: readonly BlockDriver[], disk: Uint8Array, when: string): void {
  for (const blocks of queues) {
    for (const { request, data, status } of blocks.harvest()) {
      const start = request.sector * SECTOR;
      assert.equal(status, 0, when);
      assert.deepEqual(data, disk.slice(start, start + SECTOR), when);
    }
  }
}

async function exam(open: (device: BlockDevice, guest: RawGuest) => Driver, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const disk = Uint8Array.from({ length: DISK_BYTES }, () => random.below(256));
  const makeDevice = (): BlockDevice => new BlockDevice(slowStore(disk, random), { queues: QUEUES });
  using guest = new RawGuest({ sizeBytes: 16 << 20 });
  await using driver = open(makeDevice(), guest);
  const { registers } = driver.transport;
  const hosts = [0, 1].map(() => {
    const log = (line: string): void => void driver.machine.lines.push(line);
    return new LocalHost(makeDevice(), driver.machine.loop, { log, guest: new GuestMemory([guest.memory]) });
  });
  const targets: readonly DeviceHost[] = [...hosts, lateHost(hosts[0] as LocalHost)];
  const moves: Promise<void>[] = [];
  let queues = await run(driver, guest);
  for (let step = 0; step < STEPS; step++) {
    const what = random.of(['submit', 'submit', 'submit', 'move', 'move back', 'pause', 'resume', 'wait', 'run']);
    if (what === 'submit') submit(driver, queues, random);
    else if (what === 'move') moves.push(registers.moveTo(random.of(targets)));
    else if (what === 'move back') moves.push(registers.moveBack());
    else if (what === 'pause') moves.push(registers.pause());
    else if (what === 'resume') moves.push(registers.resume());
    else if (what === 'wait') await new Promise((resolve) => setImmediate(resolve));
    else if (random.oneIn(3)) queues = await run(driver, guest);
    harvest(queues, disk, `seed ${seed}, step ${step}`);
  }
  moves.push(registers.resume());
  await Promise.all(moves);
  await eventually(`seed ${seed}: everything that was asked for`, () => {
    harvest(queues, disk, `seed ${seed}, at the end`);
    return queues.every(({ inFlight }) => inFlight === 0);
  });
  await registers.moveBack();
  assert.deepEqual(
    hosts.flatMap((host) => host.report()),
    [],
    'nobody else runs anything',
  );
  assert.equal(await driver.isBroken(), false);
  const lines = driver.lines.filter((line) => !line.includes('slow path'));
  assert.deepEqual(lines, []);
}

for (const refusesDoorbells of [false, true]) {
  const kernel = refusesDoorbells ? ', without doorbells' : '';
  for (const [name, open] of [
    ['virtio-mmio', (device, guest) => new MmioDriver(device, guest, { refusesDoorbells })],
    ['virtio-pci', (device, guest) => new PciDriver(device, guest, { refusesDoorbells })],
  ] as const satisfies readonly (readonly [string, (device: BlockDevice, guest: RawGuest) => Driver])[]) {
    test(`${name}${kernel}: queues moved, moved back, paused and reset at random lose nothing`, async () => {
      for (let seed = 1; seed <= SEEDS; seed++) await exam(open, seed);
    });
  }
}
