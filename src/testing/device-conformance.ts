// testing: what every virtio device must do, as tests. Run it on a device of your own.
import assert from 'node:assert/strict';
import { checkDevice } from '../virtio/check-device.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { MaybePromise } from '../virtio/maybe-promise.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../virtio/spec.ts';
import type { ChainPieces, UsedChain } from './chain-driver.ts';
import { type DefineTest, nodeTest } from './define-test.ts';
import { DeviceLoopback, type DeviceLoopbackOptions } from './device-loopback.ts';
import type { LoopbackQueue } from './loopback-queue.ts';
import { oddChains, otherFramings } from './odd-chains.ts';
import { patience } from './patience.ts';
import { settle } from './transport-world.ts';

/** How a driver uses one queue of the device. */
export interface ConformingQueue<Device> {
  /** Returns a request, or a buffer to fill, as a driver makes it. */
  readonly request: () => ChainPieces;
  /** Checks a completed request. */
  readonly check?: (used: UsedChain) => void;
  /**
   * Makes the device use a buffer, on a queue whose buffers wait for an event. Absent: requests complete by themselves.
   */
  readonly provoke?: (device: Device) => unknown;
}

/** What the suite needs to know of a device. */
export interface DeviceConformanceOptions<Device extends VirtioDevice> {
  /** Makes a device; the suite closes it. Called for each test. */
  readonly open: () => MaybePromise<Device>;
  /** Every queue of the device, in order. */
  readonly queues: readonly ConformingQueue<Device>[];
  /** Defines each test. Default: `test` of node:test. */
  readonly test?: DefineTest;
  /** Limit for one test, in ms, after which it fails as not answered. Default: 30,000. */
  readonly limitMs?: number;
}

/** Far more than any test takes. */
const LIMIT_MS = 30_000;
const SIZE = 8;

/** A device, and a driver for each of its queues. */
class World implements AsyncDisposable {
  readonly device: VirtioDevice;
  readonly loop: DeviceLoopback;
  readonly #drivers: readonly ConformingQueue<VirtioDevice>[];
  #isAbandoned = false;

  private constructor(loop: DeviceLoopback, drivers: readonly ConformingQueue<VirtioDevice>[]) {
    this.device = loop.device;
    this.loop = loop;
    this.#drivers = drivers;
  }

  static async open(
    device: VirtioDevice,
    drivers: readonly ConformingQueue<VirtioDevice>[],
    options: DeviceLoopbackOptions = {},
  ): Promise<World> {
    assert.equal(drivers.length, device.queueSizes.length, 'one entry of `queues` for each queue of the device');
    return new World(await DeviceLoopback.start(device, { size: SIZE, ...options }), drivers);
  }

  /** Each queue with its driver. */
  get queues(): readonly [LoopbackQueue, ConformingQueue<VirtioDevice>][] {
    return this.loop.queues.map((queue, index) => [queue, this.#drivers[index] as ConformingQueue<VirtioDevice>]);
  }

  /** Makes the device use a buffer of a queue that needs it. */
  readonly provoke = ({ index }: LoopbackQueue): void => {
    this.#drivers[index]?.provoke?.(this.device);
  };

  /** Waits until `count` chains are completed. */
  async back(queue: LoopbackQueue, count: number): Promise<UsedChain[]> {
    const used: UsedChain[] = [];
    while (used.length < count) {
      this.provoke(queue);
      used.push(...(await queue.used()));
    }
    assert.equal(used.length, count, `queue ${queue.index}: chains that came back`);
    return used;
  }

  /** Checks that a request of every queue is served. */
  async serves(): Promise<void> {
    for (const [queue, driver] of this.queues) {
      const head = queue.add(driver.request());
      queue.kick();
      const [used] = await this.back(queue, 1);
      assert.equal(used?.head, head);
      driver.check?.(used as UsedChain);
    }
  }

  /** Abandons a device that does not answer; returns what is outstanding. */
  abandon(): string {
    const waiting = this.loop.queues.map(({ index, inFlight }) => `queue ${index}: ${inFlight} not back`);
    const lastLine = this.loop.lines.at(-1);
    this.#isAbandoned = true;
    this.loop.abandon();
    return [...waiting, ...(lastLine === undefined ? [] : [lastLine])].join('; ');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isAbandoned) await this.loop[Symbol.asyncDispose]();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Open = (options?: DeviceLoopbackOptions) => Promise<World>;

/** By the name of the test. */
const checks: { readonly [sentence: string]: (open: Open) => Promise<void> } = {
  'every request comes back, once, whatever features of the ring are negotiated': async (open) => {
    for (const ring of [0n, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC]) {
      await using world = await open({ features: VIRTIO_F_VERSION_1 | ring, start: 0xfffa });
      // The indices wrap around.
      for (let i = 0; i < 3 * SIZE; i++) await world.serves();
    }
  },

  'every request comes back where there are several at a time': async (open) => {
    await using world = await open({ size: 64 });
    for (const [queue, driver] of world.queues) {
      const heads = Array.from({ length: 12 }, () => queue.add(driver.request()));
      queue.kick();
      const used = await world.back(queue, heads.length);
      assert.deepEqual(new Set(used.map(({ head }) => head)), new Set(heads));
      for (const chain of used) driver.check?.(chain);
    }
  },

  ...Object.fromEntries(
    Object.entries(oddChains).map(([what, pieces]) => [
      `§2.7.4 ${what} comes back, and the next request is served`,
      async (open: Open) => {
        await using world = await open();
        for (const [queue, driver] of world.queues) {
          queue.add(pieces(driver.request()));
          queue.kick();
          await world.back(queue, 1);
        }
        await world.serves();
      },
    ]),
  ),

  ...Object.fromEntries(
    Object.entries(otherFramings).map(([what, pieces]) => [
      `§2.7.4 a request ${what} is served like any other`,
      async (open: Open) => {
        await using world = await open();
        for (const [queue, driver] of world.queues) {
          queue.add(pieces(driver.request()));
          queue.kick();
          for (const used of await world.back(queue, 1)) driver.check?.(used);
        }
        await world.serves();
      },
    ]),
  ),

  'a VM that is paused and goes on loses no request and repeats none, whenever it is paused': async (open) => {
    for (const turns of [0, 1, 2, 20]) {
      await using world = await open({ size: 64 });
      for (const [queue, driver] of world.queues) {
        const heads = Array.from({ length: 4 }, () => queue.add(driver.request()));
        queue.kick();
        for (let i = 0; i < turns; i++) await turn();
        await world.loop.pause();
        const before = queue.harvest();
        await world.loop.resume();
        const after = await world.back(queue, heads.length - before.length);
        const back = [...before, ...after].map(({ head }) => head);
        assert.deepEqual(back.toSorted(), heads.toSorted(), `queue ${queue.index}, paused after ${turns} turns`);
      }
      await world.serves();
    }
  },

  'after a stop nothing touches memory, and the ring asks to be kicked': async (open) => {
    for (const features of [VIRTIO_F_VERSION_1, VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX]) {
      for (const turns of [1, 20]) {
        await using world = await open({ features });
        for (const [queue, driver] of world.queues) queue.add(driver.request());
        for (const [queue] of world.queues) queue.kick();
        for (let i = 0; i < turns; i++) await turn();
        await staysAway(world, (features & VIRTIO_F_EVENT_IDX) !== 0n);
        await world.loop.resume();
        for (const [queue] of world.queues) {
          queue.harvest();
          await world.back(queue, queue.inFlight);
        }
      }
    }
  },

  '§2.1 a reset brings it back to how it was made, whatever was served and written before': async (open) => {
    await using world = await open();
    const { device, loop } = world;
    const made = { features: device.features, config: loop.config(), queueSizes: [...device.queueSizes] };
    await world.serves();
    await writeEverywhere(loop);
    for (const [queue, driver] of world.queues) queue.add(driver.request());
    for (const [queue] of world.queues) queue.kick();
    await loop.reset(VIRTIO_F_VERSION_1);
    await loop.reset();
    assert.deepEqual({ features: device.features, config: loop.config(), queueSizes: [...device.queueSizes] }, made);
    await world.serves();
  },

  '§2.5 the configuration space keeps its length, and a write beyond its end is refused': async (open) => {
    await using world = await open();
    const { loop } = world;
    const { byteLength } = loop.config();
    await writeEverywhere(loop);
    assert.equal(loop.config().byteLength, byteLength);
    const beyond: [number, number][] = [1, 4, 8].flatMap((length) => [
      [byteLength, length],
      [byteLength - length + 1, length],
    ]);
    for (const [offset, length] of beyond)
      if (offset >= 0) assert.equal(await loop.writeConfig(offset, new Uint8Array(length)), false);
    await world.serves();
  },

  'a driver that breaks a rule of the ring loses that queue until a reset, and no other': async (open) => {
    await using world = await open();
    for (const [queue, driver] of world.queues) {
      queue.add(driver.request());
      queue.kick();
      await settle();
      // A descriptor whose `next` is itself: a chain without end.
      const endless = { index: SIZE - 1, address: 0, length: 16, flags: VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE };
      queue.ring.writeDescriptor(endless.index, endless.address, endless.length, endless.flags, endless.index);
      const { available, availableIndex } = queue.ring;
      available[2 + (availableIndex & (SIZE - 1))] = endless.index;
      available[1] = (availableIndex + 1) & 0xffff;
    }
    await world.loop.pause();
    await world.loop.resume();
    for (const [queue] of world.queues) {
      while (!queue.isBroken) {
        world.provoke(queue);
        await turn();
      }
    }
    await world.loop.reset();
    await world.serves();
  },
};

/** Stops the queues, and checks that the device touches no memory afterwards and that the rings request kicks. */
async function staysAway({ loop, queues, provoke }: World, eventIdx: boolean): Promise<void> {
  for (const [queue, driver] of queues) {
    const stop = await queue.stop();
    // §2.7.10: avail_event is the base, or, without EVENT_IDX, the flag is 0.
    const { used, size } = queue.ring;
    const [asked, wanted] = eventIdx ? [used[2 + 4 * size], stop?.base] : [used[0], 0];
    assert.equal(asked, wanted, `queue ${queue.index} asks to be kicked`);
    queue.add(driver.request());
    queue.ring.publish();
  }
  const { bytes } = loop.memory;
  const before = bytes.slice();
  for (const [queue] of queues) provoke(queue);
  await settle();
  const touched = before.findIndex((byte, i) => byte !== bytes[i]);
  assert.equal(touched, -1, 'a byte of memory that changed after the stop');
}

/** Writes to every place of the configuration space, where allowed. A reset has to undo it. */
async function writeEverywhere(loop: DeviceLoopback): Promise<void> {
  const { byteLength } = loop.config();
  for (const length of [1, 2, 4, 8])
    for (let offset = 0; offset + length <= byteLength; offset++)
      for (const value of [0, 1, 0xff]) await loop.writeConfig(offset, new Uint8Array(length).fill(value));
}

/**
 * Defines the tests that a device called `name` must pass.
 *
 * @example
 * deviceConformance('echo', {
 *   open: () => new EchoDevice(),
 *   queues: [{ request: () => ({ readable: [Uint8Array.of(1, 2, 3)], writable: [8] }) }],
 * });
 */
export function deviceConformance<Device extends VirtioDevice>(
  name: string,
  { open, queues, test = nodeTest, limitMs = LIMIT_MS }: DeviceConformanceOptions<Device>,
): void {
  const drivers = queues as readonly ConformingQueue<VirtioDevice>[];
  test(`${name}: it has the members of a VirtioDevice`, async () => {
    const device = await open();
    checkDevice(device);
    await device.close?.();
  });
  for (const [sentence, check] of Object.entries(checks)) {
    test(`${name}: ${sentence}`, () => {
      const worlds: World[] = [];
      const run = check(async (options) => {
        const world = await World.open(await open(), drivers, options);
        worlds.push(world);
        return world;
      });
      return inTime(run, limitMs, () => worlds.at(-1)?.abandon() ?? 'the device was not made');
    });
  }
}

/** Rejects after `limitMs`: a device that keeps a request would make the test wait for ever. */
async function inTime(run: Promise<void>, limitMs: number, onLate: () => string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`the device did not answer in time: ${onLate()}`)),
    patience(limitMs),
  );
  run.catch(() => {});
  await Promise.race([run, late]).finally(() => clearTimeout(timer));
}
