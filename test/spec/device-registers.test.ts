// test/spec: what a driver does to a device's registers: status, features, and the hand-over of queues from host to host while their driver works.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { CONFIG } from '../../src/devices/blk/spec.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { BlockDriver, type BlockResult } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import type { StandInOptions } from '../../src/testing/stand-in-machine.ts';
import { CommonConfig } from '../../src/transports/bus/pci/spec.ts';
import type { DoorbellPort } from '../../src/transports/bus/transport.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import type { CallTarget, DeviceHost, DeviceTraits } from '../../src/transports/queue/queue-host.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { DeviceStatus, VIRTQ_DESC_F_NEXT } from '../../src/virtio/spec.ts';
import { descriptorKinds } from '../vhost-user/back-end.ts';

const DISK_BYTES = 64 * 1024;
const SECTOR = 512;
const QUEUES = 2;
const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED } = DeviceStatus;

/** A disk behind virtio-mmio, two hosts that can run its queues, and a driver. */
class World implements AsyncDisposable {
  readonly disk = new Uint8Array(DISK_BYTES);
  /** Reads wait for `gate`, where that is set. */
  gate: PromiseWithResolvers<void> | undefined;
  waiting = 0;
  readonly guest = new RawGuest({ sizeBytes: 4 << 20 });
  readonly driver: MmioDriver;
  /** Another device on the same disk, and its queue host. */
  readonly other = this.#device();
  readonly host: LocalHost;
  readonly queues: BlockDriver[] = [];

  constructor(options: StandInOptions = {}) {
    this.driver = new MmioDriver(this.#device(), this.guest, options);
    this.host = this.newHost(this.other);
  }

  newHost(device: BlockDevice): LocalHost {
    const guest = new GuestMemory([this.guest.memory]);
    return new LocalHost(device, this.driver.machine.loop, { log: () => {}, guest });
  }

  #device(): BlockDevice {
    const store = {
      sizeBytes: DISK_BYTES,
      read: async (offset: number, into: Uint8Array) => {
        this.waiting++;
        await this.gate?.promise;
        this.waiting--;
        into.set(this.disk.subarray(offset, offset + into.length));
      },
      write: (offset: number, from: Uint8Array) => this.disk.set(from, offset),
      flush() {},
    };
    return new BlockDevice(store, { queues: QUEUES });
  }

  get registers() {
    return this.driver.transport.registers;
  }

  /** Negotiates, and has its queues run. */
  async run(): Promise<void> {
    await this.driver.reset();
    const features = await this.driver.offered();
    assert.ok(await this.driver.accept(features));
    for (let index = 0; index < QUEUES; index++) {
      const ring = new DriverQueue(this.guest.memory, { size: 16, features });
      assert.ok(await this.driver.setUp(index, 16, ring.addresses));
      this.queues[index] = new BlockDriver(this.guest.memory, ring);
    }
    await this.driver.start();
  }

  submit(index: number, sector: number): void {
    const blocks = this.queues[index] as BlockDriver;
    blocks.queue.requestCalls();
    blocks.add(blockRequest.read(sector, SECTOR));
    blocks.queue.publish();
    if (blocks.queue.needsKick()) this.driver.kick(index);
  }

  async results(index: number): Promise<BlockResult[]> {
    const blocks = this.queues[index] as BlockDriver;
    const all: BlockResult[] = [];
    await eventually(`requests of queue ${index}`, () => {
      all.push(...blocks.harvest());
      return blocks.inFlight === 0;
    });
    return all;
  }

  async read(index: number, sector = 0): Promise<void> {
    this.submit(index, sector);
    const results = await this.results(index);
    assert.deepEqual(
      results.map(({ status }) => status),
      [0],
    );
  }

  /** Requests served so far by either host. */
  get served(): { home: number; other: number } {
    const count = (host: LocalHost): number => host.counters.reduce((sum, { requests }) => sum + requests, 0);
    return { home: count(this.driver.machine.hosts[0] as LocalHost), other: count(this.host) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gate?.resolve();
    this.gate = undefined;
    await this.driver[Symbol.asyncDispose]();
    this.guest[Symbol.dispose]();
  }
}

/** One that takes everything and does nothing. */
function idleHost(device: DeviceTraits): DeviceHost {
  return {
    device,
    events: undefined,
    async setMemory() {},
    async start() {},
    stop: async () => ({ base: 0, broken: false }),
    async setCall() {},
    async activate() {},
    writeConfig: async () => true,
    async reset() {},
  };
}

/** Has queue 0 find a chain that never ends. */
async function breakQueue(world: World): Promise<void> {
  const { queue } = world.queues[0] as BlockDriver;
  queue.writeDescriptor(0, world.guest.region.guestAddress, 16, VIRTQ_DESC_F_NEXT, 0);
  queue.available[2] = 0;
  queue.available[1] = (queue.available[1] as number) + 1;
  world.driver.kick(0);
  await eventually('the queue to break', () => (world.registers.status & DEVICE_NEEDS_RESET) !== 0);
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('§2.1.1 a status bit that the driver leaves out stays set', async () => {
  await using world = new World();
  await world.run();
  const running = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
  assert.equal(world.registers.status, running);
  await world.registers.writeStatus(ACKNOWLEDGE);
  assert.equal(world.registers.status, running);
  await world.read(0);
  await world.registers.writeStatus(FAILED);
  assert.equal(world.registers.status, running | FAILED);
});

test('§2.1 bits that are not the driver’s cannot be set by it', async () => {
  await using world = new World();
  await world.registers.writeStatus(0xffff_ff70 | ACKNOWLEDGE);
  assert.equal(world.registers.status, ACKNOWLEDGE);
});

test('§3.1.1 DRIVER_OK without FEATURES_OK is not set', async () => {
  await using world = new World();
  await world.registers.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  assert.equal(world.registers.status, ACKNOWLEDGE | DRIVER);
});

test('§6.1 a driver without VIRTIO_F_VERSION_1 is refused, once in words', async () => {
  await using world = new World();
  const features = (await world.driver.offered()) & 0xffff_ffffn;
  for (let i = 0; i < 3; i++) assert.equal(await world.driver.accept(features), false);
  assert.equal(world.driver.lines.length, 1);
  assert.match(world.driver.lines[0] as string, /VERSION_1/);
});

test('§2.2 features do not change after FEATURES_OK', async () => {
  await using world = new World();
  await world.run();
  const { features } = world.registers;
  world.registers.acceptWord(0, 0);
  assert.equal(world.registers.features, features);
});

test('§2.2.2 a feature beyond bit 63 was not offered either', async () => {
  await using world = new World();
  const features = await world.driver.offered();
  world.registers.acceptWord(2, 1);
  assert.equal(await world.driver.accept(features), false);
});

test('§2.3 the driver is notified at DRIVER_OK of a configuration change between its read and DRIVER_OK', async () => {
  await using world = new World();
  await world.driver.reset();
  assert.ok(await world.driver.accept(await world.driver.offered()));
  world.registers.readConfig(CONFIG.capacity, 4);
  (world.registers.device as BlockDevice).resize(DISK_BYTES / 2);
  assert.equal(world.driver.tookConfigInterrupt(), false, 'not before');
  await world.driver.start();
  assert.equal(world.driver.tookConfigInterrupt(), true);
});

test('§2.7 a ring that is not aligned is not made ready', async () => {
  await using world = new World();
  await world.driver.reset();
  assert.ok(await world.driver.accept(await world.driver.offered()));
  const ring = { descriptorArea: 1 << 20, driverArea: (1 << 20) + 4096, deviceArea: (1 << 20) + 8192 };
  for (const part of ['descriptorArea', 'driverArea', 'deviceArea'] as const)
    assert.equal(await world.driver.setUp(0, 16, { ...ring, [part]: ring[part] + 1 }), false, part);
  assert.equal(await world.driver.setUp(0, 16, ring), true);
});

test('§2.1.2 a ring outside of memory sets DEVICE_NEEDS_RESET, and is logged', async () => {
  await using world = new World();
  await world.driver.reset();
  assert.ok(await world.driver.accept(await world.driver.offered()));
  const far = 2 ** 60;
  assert.ok(await world.driver.setUp(0, 16, { descriptorArea: far, driverArea: far, deviceArea: far }));
  await world.driver.start();
  assert.equal(world.registers.status & DEVICE_NEEDS_RESET, DEVICE_NEEDS_RESET);
  assert.equal(world.driver.tookConfigInterrupt(), true);
  assert.match(world.driver.lines.join(), /queue 0 does not start: .* not its memory/);
  await world.run();
  await world.read(0);
});

for (const refusesDoorbells of [false, true]) {
  const kernel = refusesDoorbells ? ', without doorbells' : '';

  test(`moveTo and moveBack: requests go where the queues are, and none is lost${kernel}`, async () => {
    await using world = new World({ refusesDoorbells });
    await world.run();
    for (let round = 0; round < 5; round++) {
      for (const index of [0, 1]) await world.read(index, round);
      await world.registers.moveTo(world.host);
      const { home } = world.served;
      for (const index of [0, 1]) await world.read(index, round);
      assert.deepEqual(world.served, { home, other: 2 * (round + 1) });
      await world.registers.moveBack();
    }
    assert.deepEqual(world.served, { home: 10, other: 10 });
  });

  test(`hand-over under load: what is in flight ends where it began, what waits goes along${kernel}`, async () => {
    await using world = new World({ refusesDoorbells });
    await world.run();
    let done = false;
    const load = (async () => {
      let count = 0;
      for (; !done; count += 8) {
        for (let i = 0; i < 8; i++) world.submit(i % 2, (count + i) % 64);
        for (const index of [0, 1]) assert.equal((await world.results(index)).length, 4);
      }
      return count;
    })();
    for (let round = 0; round < 20; round++) {
      await (round % 2 === 0 ? world.registers.moveTo(world.host) : world.registers.moveBack());
      for (let i = 0; i < 10; i++) await pause();
    }
    done = true;
    const count = await load;
    const { home, other } = world.served;
    assert.equal(home + other, count);
    assert.ok(home > 0 && other > 0, `${home} and ${other}`);
  });
}

test('a request in flight holds the hand-over up, and a kick meanwhile is not lost', async () => {
  await using world = new World();
  await world.run();
  world.gate = Promise.withResolvers();
  world.submit(0, 1);
  await eventually('the read', () => world.waiting === 1);
  let moved = false;
  const moving = world.registers.moveTo(world.host).then(() => {
    moved = true;
  });
  for (let i = 0; i < 10; i++) await pause();
  assert.equal(moved, false);
  world.submit(0, 2);
  world.gate.resolve();
  world.gate = undefined;
  await moving;
  assert.equal((await world.results(0)).length, 2);
  assert.deepEqual(world.served, { home: 1, other: 1 });
});

test('the interrupt status shows used buffers while a queue is on its way', async () => {
  await using world = new World();
  await world.run();
  const starts: (() => void)[] = [];
  const start = (): Promise<void> => new Promise((resolve) => void starts.push(resolve));
  const moving = world.registers.moveTo({ ...idleHost(world.other), start });
  await eventually('the start', () => starts.length === QUEUES);
  assert.equal(world.driver.transport.interruptStatus & 1, 1);
  for (const done of starts) done();
  await moving;
  assert.equal(world.driver.transport.interruptStatus & 1, 1);
});

test('an interrupt that moves while a host starts the queue is passed to it afterwards', async () => {
  using guest = new RawGuest();
  const device = new BlockDevice({ sizeBytes: DISK_BYTES, read: (_offset, into) => void into.fill(0) }, { queues: 1 });
  await using driver = new PciDriver(device, guest);
  assert.ok(await driver.accept(await driver.offered()));
  const ring = new DriverQueue(guest.memory, { size: 16 });
  assert.ok(await driver.setUp(0, 16, ring.addresses));
  await driver.start();
  const starts: (() => void)[] = [];
  const calls: (CallTarget | undefined)[] = [];
  const moving = driver.transport.registers.moveTo({
    ...idleHost(device),
    start(_index, { call }) {
      calls.push(call);
      return new Promise((resolve) => void starts.push(resolve));
    },
    async setCall(_index, call) {
      calls.push(call);
    },
  });
  await eventually('the start', () => starts.length === 1);
  driver.write(CommonConfig.queue_msix_vector, 0, 2);
  assert.equal(calls.length, 1, 'not before it has started');
  starts[0]?.();
  await moving;
  assert.equal(calls.length, 2);
  assert.notDeepEqual(calls[1], calls[0]);
});

test('queues moved before the driver starts begin with the other host', async () => {
  await using world = new World();
  await world.registers.moveTo(world.host);
  await world.run();
  await world.read(0);
  assert.deepEqual(world.served, { home: 0, other: 1 });
  await world.registers.moveBack();
  await world.read(1);
  assert.deepEqual(world.served, { home: 1, other: 1 });
});

test('a reset while moved: both hosts are reset, and the driver starts again with the same host', async () => {
  await using world = new World();
  await world.run();
  await world.registers.moveTo(world.host);
  await world.read(0);
  await world.run();
  await world.read(0);
  assert.deepEqual(world.served, { home: 0, other: 2 });
});

test('a reset while moved resets both devices, and configuration writes before it are not replayed to the next host', async () => {
  await using world = new World();
  const resets: string[] = [];
  const home = world.registers.device as BlockDevice;
  for (const [name, device] of Object.entries({ home, other: world.other })) {
    const reset = device.reset.bind(device);
    device.reset = () => {
      resets.push(name);
      reset();
    };
  }
  await world.run();
  await world.driver.writeConfig(CONFIG.writeback, 1, 0);
  await world.registers.moveTo(world.host);
  resets.splice(0);
  await world.run();
  assert.deepEqual(resets, ['home', 'other']);
  await world.registers.moveBack();
  await world.registers.moveTo(world.host);
  assert.equal(world.other.config.bytes[CONFIG.writeback], 1);
});

test('regression: a device that fails to reset is reset as far as it goes, and the driver can use it again', async () => {
  await using world = new World();
  await world.run();
  const device = world.registers.device as BlockDevice;
  const reset = device.reset.bind(device);
  device.reset = () => {
    throw new Error('it is stuck');
  };
  await world.driver.reset();
  assert.equal(world.registers.status, 0);
  assert.deepEqual(world.driver.lines, ['the device failed to reset: it is stuck']);
  device.reset = reset;
  await world.run();
  await world.read(0);
});

test('regression: §2.1.2 a device that fails to start asks for a reset, and can be used after it', async () => {
  await using world = new World();
  const device = world.registers.device as BlockDevice;
  const start = device.start.bind(device);
  device.start = () => {
    throw new Error('it is stuck');
  };
  await world.run();
  assert.equal(world.registers.status & DEVICE_NEEDS_RESET, DEVICE_NEEDS_RESET);
  assert.deepEqual(world.driver.lines, ['the device failed to start: it is stuck']);
  device.start = start;
  await world.run();
  await world.read(0);
});

test('§2.1.2 a queue that broke is not given to the next host; the others are', async () => {
  await using world = new World();
  await world.run();
  await breakQueue(world);
  await world.registers.moveTo(world.host);
  assert.deepEqual(
    world.host.report().map(({ queue }) => queue),
    [1],
  );
  await world.read(1);
  await world.run();
  await world.read(0);
});

test('§2.1.2 DEVICE_NEEDS_RESET is notified once, and a host’s report from before a reset is ignored after it', async () => {
  await using world = new World();
  await world.run();
  const errFds: number[] = [];
  await world.registers.moveTo({
    ...idleHost(world.other),
    async start(_index, { errFd }) {
      errFds.push(errFd as number);
    },
    async stop() {
      EventFd.borrow(errFds[0] as number).signal();
      return { base: 0, broken: true };
    },
  });
  await pause();
  world.driver.tookConfigInterrupt();
  for (let i = 0; i < 3; i++) {
    EventFd.borrow(errFds[0] as number).signal();
    for (let turns = 0; turns < 5; turns++) await pause();
    assert.equal(world.driver.tookConfigInterrupt(), i === 0);
  }
  await world.driver.reset();
  await world.driver.accept(await world.driver.offered());
  for (let turns = 0; turns < 5; turns++) await pause();
  assert.equal(world.registers.status & DEVICE_NEEDS_RESET, 0);
});

test('a device that may not touch memory begins when it may', async () => {
  await using world = new World();
  await world.registers.pause();
  await world.run();
  world.submit(0, 0);
  for (let i = 0; i < 10; i++) await pause();
  assert.deepEqual(world.queues[0]?.harvest(), []);
  await world.registers.resume();
  assert.equal((await world.results(0)).length, 1);
});

test('a reset asked for during a hand-over waits for it', async () => {
  await using world = new World();
  await world.run();
  const steps: string[] = [];
  const moving = world.registers.moveTo(world.host).then(() => steps.push('moved'));
  const reset = world.driver.reset().then(() => steps.push('reset'));
  await Promise.all([moving, reset]);
  assert.deepEqual(steps, ['moved', 'reset']);
  await world.run();
  await world.read(0);
});

test('moveTo while moved goes from one host to the next', async () => {
  await using world = new World();
  await world.run();
  await world.registers.moveTo(world.host);
  const third = world.newHost(world.other);
  await world.registers.moveTo(third);
  await world.read(0);
  assert.deepEqual(world.served, { home: 0, other: 0 });
  assert.equal(third.counters[0]?.requests, 1);
  await world.registers.moveTo(world.host);
  await world.read(0);
  assert.deepEqual(world.served, { home: 0, other: 1 });
});

test('a host that cannot start a queue gets none, and the reason is logged', async () => {
  await using world = new World();
  await world.run();
  const refusing: DeviceHost = {
    ...idleHost(world.other),
    async start(index) {
      if (index === 1) throw new Error('no room for two');
    },
  };
  await assert.rejects(world.registers.moveTo(refusing), /no room for two/);
  for (const index of [0, 1]) await world.read(index);
  assert.deepEqual(world.served, { home: 2, other: 0 });
});

test('the driver’s configuration writes are replayed to the next host', async () => {
  await using world = new World();
  await world.run();
  await world.driver.writeConfig(CONFIG.writeback, 1, 0);
  assert.equal(world.other.config.bytes[CONFIG.writeback], 1);
  await world.registers.moveTo(world.host);
  assert.equal(world.other.config.bytes[CONFIG.writeback], 0);
});

test('pause keeps the device off memory until resume, and what came meanwhile is served', async () => {
  await using world = new World();
  await world.run();
  await world.registers.pause();
  world.submit(0, 0);
  for (let i = 0; i < 10; i++) await pause();
  assert.deepEqual(world.queues[0]?.harvest(), []);
  await world.registers.moveTo(world.host);
  await world.registers.resume();
  assert.equal((await world.results(0)).length, 1);
  assert.deepEqual(world.served, { home: 0, other: 1 });
});

test('a session leaves no descriptor behind', async () => {
  const life = async (): Promise<void> => {
    await using world = new World();
    await world.run();
    await world.registers.moveTo(world.host);
    await world.read(0);
    await world.run();
    await world.registers.moveBack();
    await world.read(1);
    await world.registers.moveTo(world.host);
  };
  await life();
  for (let i = 0; i < 5; i++) await pause();
  const before = descriptorKinds();
  await life();
  for (let i = 0; i < 5; i++) await pause();
  assert.deepEqual(descriptorKinds(), before);
});

test('a doorbell that the kernel does not deregister still rings, and a line says so', async () => {
  const kept: EventFd[] = [];
  const doorbells: DoorbellPort = {
    assign(_place, eventFd) {
      if (kept.length > 0) throw new Error('it is taken');
      kept.push(eventFd);
      return {
        [Symbol.dispose]() {
          throw new Error('EFAULT');
        },
      };
    },
  };
  await using world = new World({ doorbells });
  await world.run();
  await world.run();
  await world.read(0);
  const blocks = world.queues[0] as BlockDriver;
  blocks.add(blockRequest.read(0, SECTOR));
  blocks.queue.publish();
  kept[0]?.signal();
  assert.equal((await world.results(0)).length, 1);
  const said = world.driver.lines.join('\n');
  assert.match(said, /queue 0: the kernel goes on ringing a doorbell that was given back: EFAULT/);
  assert.match(said, /queue 0: kicks take the slow path, out of the guest: it is taken/);
});

test('QueueReady can go and come while the others run', async () => {
  await using world = new World();
  await world.run();
  await world.registers.setReady(0, false);
  assert.equal(world.registers.queue(0)?.ready, false);
  await world.read(1);
  const features = world.registers.features;
  const ring = new DriverQueue(world.guest.memory, { size: 8, features });
  assert.ok(await world.driver.setUp(0, 8, ring.addresses));
  world.queues[0] = new BlockDriver(world.guest.memory, ring);
  await world.read(0);
});
