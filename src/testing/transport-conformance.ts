// testing: what a device must do over any transport, as tests. Run it on a transport of your own.
import assert from 'node:assert/strict';
import * as blk from '../devices/blk/spec.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1, VIRTQ_DESC_F_NEXT } from '../virtio/spec.ts';
import { blockRequest } from './block-request.ts';
import { type DefineTest, nodeTest } from './define-test.ts';
import { DriverQueue } from './driver-queue.ts';
import { eventually } from './raw-front-end.ts';
import { SeededRandom } from './seeded-random.ts';
import {
  DISK_BYTES,
  type DrivenQueue,
  IN_FLIGHT_MAX,
  type OpenTransport,
  QUEUES,
  settle,
  TransportWorld,
} from './transport-world.ts';

const SECTOR = 512;
/** More than the descriptors of any ring in these tests, so that the indices wrap around. */
const ROUNDS = 300;
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
const UNOFFERED = 1n << 40n;

type Check = (world: TransportWorld) => Promise<void>;

/** By the name of the test. */
const checks: { readonly [sentence: string]: Check } = {
  'the device offers its own features and those of its queues, and is told what was accepted': async (world) => {
    const offered = await world.driver.offered();
    assert.equal(offered, world.device.features | RING_FEATURES);
    const accepted = VIRTIO_F_VERSION_1 | blk.VIRTIO_BLK_F_FLUSH;
    await world.run(accepted);
    assert.equal((world.activated.at(-1) as bigint) & offered, accepted);
  },

  '§2.2.2 a feature that was not offered is refused, and a reset starts afresh': async (world) => {
    await world.driver.reset();
    await world.driver.offered();
    assert.equal(await world.driver.accept(VIRTIO_F_VERSION_1 | UNOFFERED), false);
    assert.deepEqual(world.activated, []);
    const [queue] = await world.run();
    assert.equal((await queue!.serve(blockRequest.flush()))[0]?.status, blk.VIRTIO_BLK_S_OK);
  },

  '§2.7 a queue may have any power of two up to the largest': async (world) => {
    for (const size of [1, 2, 4, 8, 64, 256]) {
      const [queue] = await world.run(undefined, size);
      assert.ok((await world.driver.queueSizeMax(0)) >= size);
      for (let sector = 0; sector < 5; sector++) {
        const [result] = await queue!.serve(blockRequest.read(sector, SECTOR));
        assert.deepEqual(result?.data, world.disk.slice(sector * SECTOR, (sector + 1) * SECTOR), `queue of ${size}`);
      }
    }
  },

  'a queue size that is none is refused': async (world) => {
    for (const size of [0, 3, 65535]) {
      await world.negotiate();
      const ring = new DriverQueue(world.guest.memory, { size: 16 });
      assert.equal(await world.driver.setUp(0, size, ring.addresses), false, `${size}`);
    }
  },

  'reads, writes and flushes are served, and errors are told': async (world) => {
    const [queue] = await world.run();
    const bytes = new Uint8Array(3 * SECTOR).fill(0x5a);
    const results = await queue!.serve(
      blockRequest.read(1, SECTOR),
      blockRequest.write(8, bytes),
      blockRequest.flush(),
      blockRequest.read(DISK_BYTES / SECTOR, SECTOR),
      { ...blockRequest.flush(), type: 0x1234 },
    );
    const { VIRTIO_BLK_S_OK: ok, VIRTIO_BLK_S_IOERR: error, VIRTIO_BLK_S_UNSUPP: unsupported } = blk;
    const byHead = results.toSorted((a, b) => a.request.sector - b.request.sector || a.request.type - b.request.type);
    assert.deepEqual(byHead.map(({ status }) => status).toSorted(), [ok, ok, ok, error, unsupported].toSorted());
    assert.deepEqual(world.disk.slice(8 * SECTOR, 11 * SECTOR), bytes);
    const read = results.find(({ request }) => request.sector === 1);
    assert.deepEqual(read?.data, world.disk.slice(SECTOR, 2 * SECTOR));
  },

  'every queue is served by itself': async (world) => {
    const queues = await world.run(undefined, 16, QUEUES);
    for (const queue of queues) queue.submit(blockRequest.read(queue.index, SECTOR));
    for (const queue of queues) {
      const [result] = await queue.results();
      const start = queue.index * SECTOR;
      assert.deepEqual(result?.data, world.disk.slice(start, start + SECTOR), `queue ${queue.index}`);
    }
  },

  'indices go round, at any depth': async (world) => {
    const random = new SeededRandom(4);
    const [queue] = await world.run(undefined, 8);
    for (let round = 0; round < ROUNDS; round++) {
      const sectors = Array.from({ length: 1 + random.below(2) }, () => random.below(DISK_BYTES / SECTOR));
      const results = await queue!.serve(...sectors.map((sector) => blockRequest.read(sector, SECTOR)));
      for (const { request, data } of results) {
        const start = request.sector * SECTOR;
        assert.deepEqual(data, world.disk.slice(start, start + SECTOR), `round ${round}, sector ${request.sector}`);
      }
    }
  },

  '§2.1.2 nothing is consumed before the driver is ready; what was rung by then is served': async (world) => {
    const accepted = await world.negotiate();
    const queue = await world.queue(0, accepted);
    queue.submit(blockRequest.read(2, SECTOR));
    await settle();
    assert.deepEqual(queue.blocks.harvest(), []);
    await world.driver.start();
    assert.deepEqual((await queue.results())[0]?.data, world.disk.slice(2 * SECTOR, 3 * SECTOR));
  },

  'what was placed before the start is served without a ring': async (world) => {
    const accepted = await world.negotiate();
    const queue = await world.queue(0, accepted);
    queue.blocks.add(blockRequest.read(2, SECTOR));
    queue.ring.publish();
    await world.driver.start();
    assert.equal((await queue.results()).length, 1);
  },

  'a doorbell of a queue that is not ready, or does not exist, rings nothing': async (world) => {
    assert.equal(await world.driver.queueSizeMax(QUEUES), 0);
    for (const index of [0, 1, QUEUES, 1000, 65535]) world.driver.kick(index);
    const [queue] = await world.run();
    for (const index of [1, QUEUES, 1000, 65535]) world.driver.kick(index);
    assert.equal((await queue!.serve(blockRequest.read(0, SECTOR))).length, 1);
  },

  '§2.7.7 the driver is interrupted where it asks for it': async (world) => {
    for (const features of [VIRTIO_F_VERSION_1, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX]) {
      const [queue] = await world.run(features);
      await settle();
      world.driver.tookUsedInterrupt(0);
      for (let i = 0; i < 3; i++) {
        queue!.ring.requestCalls();
        await queue!.serve(blockRequest.read(0, SECTOR));
        await queue!.interrupted();
      }
    }
  },

  '§2.7.7 the driver is not interrupted where it asks not to be': async (world) => {
    for (const features of [VIRTIO_F_VERSION_1, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX]) {
      const [queue] = await world.run(features);
      // The first notification after a start is unconditional.
      await queue!.serve(blockRequest.read(0, SECTOR));
      await settle();
      world.driver.tookUsedInterrupt(0);
      for (let i = 0; i < 3; i++) {
        queue!.ring.suppressCalls();
        await queue!.serve(blockRequest.read(0, SECTOR));
        await settle();
        assert.equal(world.driver.tookUsedInterrupt(0), false);
      }
    }
  },

  '§2.5 the configuration space reads in 1, 2 and 4 bytes, zeroes beyond its end': async (world) => {
    const config = world.device.config.bytes;
    const view = new DataView(config.buffer, config.byteOffset, config.length);
    for (let offset = 0; offset < config.length; offset++)
      assert.equal(await world.driver.readConfig(offset, 1), config[offset], `byte ${offset}`);
    for (let offset = 0; offset + 2 <= config.length; offset += 2)
      assert.equal(await world.driver.readConfig(offset, 2), view.getUint16(offset, true), `word ${offset}`);
    for (let offset = 0; offset + 4 <= config.length; offset += 4)
      assert.equal(await world.driver.readConfig(offset, 4), view.getUint32(offset, true), `double word ${offset}`);
    assert.equal(await world.driver.readConfig(config.length, 4), 0);
  },

  '§2.5 a field that the device lets the driver write is written, others stay': async (world) => {
    await world.run();
    assert.equal(await world.driver.readConfig(blk.CONFIG.writeback, 1), 1);
    await world.driver.writeConfig(blk.CONFIG.writeback, 1, 0);
    assert.equal(await world.driver.readConfig(blk.CONFIG.writeback, 1), 0);
    await world.driver.writeConfig(blk.CONFIG.capacity, 4, 0xffff_ffff);
    await world.driver.writeConfig(world.device.config.bytes.length, 4, 1);
    assert.equal(await world.driver.readConfig(blk.CONFIG.capacity, 4), DISK_BYTES / SECTOR);
  },

  'a cache mode that is written before the features are accepted holds when the device runs': async (world) => {
    await world.driver.reset();
    const offered = await world.driver.offered();
    await world.driver.writeConfig(blk.CONFIG.writeback, 1, 0);
    assert.ok(await world.driver.accept(offered));
    const queue = await world.queue(0, offered);
    await world.driver.start();
    assert.equal(await world.driver.readConfig(blk.CONFIG.writeback, 1), 0);
    const { flushes } = world;
    await queue.serve(blockRequest.write(0, new Uint8Array(SECTOR)));
    assert.equal(world.flushes, flushes + 1, 'a write is durable when it completes');
  },

  '§2.3 the driver is told of a change of the configuration': async (world) => {
    await world.run();
    await settle();
    world.driver.tookConfigInterrupt();
    world.device.resize(DISK_BYTES / 2);
    await eventually('the notification', () => world.driver.tookConfigInterrupt());
    assert.equal(await world.driver.readConfig(blk.CONFIG.capacity, 4), DISK_BYTES / 2 / SECTOR);
    await settle();
    assert.equal(world.driver.tookConfigInterrupt(), false, 'once');
  },

  '§2.4.1 a reset is complete when nothing in flight touches memory': async (world) => {
    for (let round = 0; round < 2; round++) {
      const [queue] = await world.run();
      world.closeGate();
      queue!.submit(blockRequest.read(3, SECTOR));
      await eventually('the read to begin', () => world.waitingReads === 1);
      let isReset = false;
      const reset = world.driver.reset().then(() => {
        isReset = true;
      });
      await settle();
      assert.equal(isReset, false, 'not while a read is in flight');
      world.openGate();
      await reset;
      const before = world.guest.memory.bytes.slice();
      queue!.blocks.add(blockRequest.read(4, SECTOR));
      queue!.ring.publish();
      const placed = world.guest.memory.bytes.slice();
      world.driver.kick(0);
      await settle();
      assert.notDeepEqual(before, placed);
      assert.deepEqual(world.guest.memory.bytes, placed, 'the device left memory alone');
      assert.equal(world.driver.tookUsedInterrupt(0) && (await world.driver.isBroken(0)), false);
    }
    assert.ok(world.resets >= 2);
    const [queue] = await world.run();
    assert.equal((await queue!.serve(blockRequest.read(0, SECTOR)))[0]?.status, blk.VIRTIO_BLK_S_OK);
  },

  '§2.4.1 a reset leaves a ring that asks to be kicked, for whatever runs it next': async (world) => {
    const [queue] = await world.run(VIRTIO_F_VERSION_1, 64);
    world.closeGate();
    // More than the device takes at once: it requests no kick until it has completed some.
    queue!.submit(...Array.from({ length: IN_FLIGHT_MAX + 1 }, () => blockRequest.read(0, SECTOR)));
    await eventually('the reads to begin', () => world.waitingReads === IN_FLIGHT_MAX);
    const before = queue!.ring.needsKick();
    const reset = world.driver.reset();
    world.openGate();
    await reset;
    queue!.blocks.add(blockRequest.flush());
    queue!.ring.publish();
    assert.deepEqual([before, queue!.ring.needsKick()], [false, true]);
  },

  '§2.1.2 a driver that breaks a rule loses that queue until a reset, and is told': async (world) => {
    const [bad, good] = (await world.run(undefined, 16, 2)) as [DrivenQueue, DrivenQueue];
    await settle();
    bad.ring.writeDescriptor(0, world.guest.region.guestAddress, 16, VIRTQ_DESC_F_NEXT, 0);
    bad.ring.available[2] = 0;
    bad.ring.available[1] = 1;
    world.driver.kick(0);
    for (let tries = 0; !(await world.driver.isBroken(0)); tries++) {
      assert.ok(tries < 1000, 'the device says that it needs a reset');
      await settle();
    }
    assert.equal((await good.serve(blockRequest.read(0, SECTOR))).length, 1, 'the other queue goes on');
    assert.equal(world.driver.lines.filter((line) => line.startsWith('queue 0 stopped')).length, 1, 'it is said once');
    const [queue] = await world.run();
    assert.equal(await world.driver.isBroken(0), false);
    assert.equal((await queue!.serve(blockRequest.read(0, SECTOR))).length, 1);
  },
};

/** Defines the tests that a transport called `name` must pass. Default runner: `test` of node:test. */
export function transportConformance(name: string, open: OpenTransport, test: DefineTest = nodeTest): void {
  for (const [sentence, check] of Object.entries(checks)) {
    test(`${name}: ${sentence}`, async () => {
      await using world = new TransportWorld(open);
      await check(world);
    });
  }
}
