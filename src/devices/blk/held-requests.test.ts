// Requests that are held: what waits behind them, the order in which they are tried again, and how they end.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BlockLoopback } from '../../testing/block-loopback.ts';
import { type BlockRequest, blockRequest, encodeReadable } from '../../testing/block-request.ts';
import { DeviceLoopback } from '../../testing/device-loopback.ts';
import { eventually } from '../../testing/patience.ts';
import type { EventName } from '../../virtio/log.ts';
import { BlockDevice } from './block-device.ts';
import type { BlockStore } from './block-store.ts';
import type { ErrorPolicy } from './error-policy.ts';
import * as blk from './spec.ts';

const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR } = blk;
const SIZE = 64 * 512;
const errorOf = (code: string): Error => Object.assign(new Error(code), { code });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const write = (sector: number): BlockRequest => blockRequest.write(sector, new Uint8Array(512).fill(sector));
const zero = (sector: number): BlockRequest => blockRequest.writeZeroes({ sector, sectors: 1 });
const discard = (sector: number): BlockRequest => blockRequest.discard({ sector, sectors: 1 });

/** A disk whose store fails while `error` is set, with a clock of its own. */
class Bed {
  error: string | undefined;
  /** Every call of the store that succeeded, or all with `isLogging`. */
  readonly done: string[] = [];
  tried = 0;
  readonly events: (EventName | undefined)[] = [];
  readonly lines: string[] = [];
  readonly disk: BlockLoopback;
  #due: (() => void)[] = [];

  constructor({ isAsync = false, onError = {} }: { isAsync?: boolean; onError?: ErrorPolicy } = {}) {
    const call =
      (name: string) =>
      (...[offset]: unknown[]): undefined | Promise<void> => {
        this.tried++;
        const end = (): undefined => {
          if (this.error !== undefined && name !== 'flush') throw errorOf(this.error);
          this.done.push(name === 'flush' ? name : `${name} ${Number(offset) / 512}`);
        };
        return isAsync ? turn().then(end) : end();
      };
    const store: BlockStore = {
      ...{ name: 's', sizeBytes: SIZE, read: call('read'), write: call('write'), flush: call('flush') },
      ...{ discard: call('discard'), writeZeroes: call('zero') },
    };
    this.disk = new BlockLoopback(store, { device: { onError } });
    const nothing = { [Symbol.dispose]: () => {} };
    this.disk.device.attach({
      watch: () => nothing,
      soon: () => {},
      // A request that does not end is no subject of these tests.
      timer: (_, task) => {
        this.#due.push(task);
        return nothing;
      },
      log: (line, about) => {
        this.lines.push(line);
        this.events.push(about?.event);
      },
      configChanged: () => {},
      needsReset: () => {},
    });
  }

  /** The timers that are set now fire. */
  fire(): void {
    for (const task of this.#due.splice(0)) task();
  }

  async second(): Promise<void> {
    this.fire();
    await this.rest();
  }

  async retry(): Promise<void> {
    this.disk.device.retryHeld();
    await this.rest();
  }

  /** Everything that can go on has ended. */
  async rest(): Promise<void> {
    for (let i = 0; i < 100; i++) await turn();
  }

  async kick(...requests: readonly BlockRequest[]): Promise<void> {
    this.disk.kick(requests);
    await this.rest();
  }

  /** The completed requests, as `type sector: status`. */
  harvest(): string[] {
    return this.disk.driver.harvest().map(({ request, status }) => `${request.type} ${request.sector}: ${status}`);
  }
}

for (const isAsync of [false, true]) {
  suite(isAsync ? 'a store that answers later' : 'a store that answers at once', () => {
    test('a write without room is held, all that must not overtake it waits, and all is done in order', async () => {
      const bed = new Bed({ isAsync });
      bed.error = 'ENOSPC';
      await bed.kick(write(1));
      bed.error = undefined;
      await bed.kick(write(2), blockRequest.flush(), discard(3), zero(4), write(5));
      assert.deepEqual([bed.harvest(), bed.done, bed.disk.queue.inFlight], [[], [], 6]);
      assert.deepEqual(bed.events, ['held']);
      await bed.second();
      assert.deepEqual(bed.done, ['write 1', 'write 2', 'flush', 'discard 3', 'zero 4', 'write 5']);
      assert.deepEqual(bed.harvest(), ['1 1: 0', '1 2: 0', '4 0: 0', '11 0: 0', '13 0: 0', '1 5: 0']);
      assert.equal(bed.disk.queue.inFlight, 0);
      assert.deepEqual(bed.events, ['held', 'resumed']);
      assert.match(bed.lines[1] as string, /^store s: no request is held any more, after \d+\.\d s$/);
      // Nothing waits any more.
      await bed.kick(write(6));
      assert.deepEqual(bed.harvest(), ['1 6: 0']);
    });

    test('while there is no room the first one alone is tried, once a second, without another line', async () => {
      const bed = new Bed({ isAsync });
      bed.error = 'ENOSPC';
      await bed.kick(write(1));
      await bed.kick(write(2), write(3));
      for (let i = 0; i < 5; i++) await bed.second();
      assert.deepEqual([bed.tried, bed.events], [6, ['held']]);
      // The user is told that it failed again.
      await bed.retry();
      assert.deepEqual([bed.tried, bed.events], [7, ['held', 'held']]);
      bed.error = undefined;
      await bed.second();
      assert.deepEqual(bed.done, ['write 1', 'write 2', 'write 3']);
    });

    test('regression: a second that ends while it is tried is not the last one', async () => {
      const bed = new Bed({ isAsync });
      bed.error = 'ENOSPC';
      await bed.kick(write(1));
      bed.disk.device.retryHeld();
      bed.fire();
      await bed.rest();
      bed.error = undefined;
      await bed.second();
      assert.deepEqual(bed.harvest(), ['1 1: 0']);
    });

    test('another error than ENOSPC waits for the user, not for a second', async () => {
      const bed = new Bed({ isAsync, onError: { write: 'stop' } });
      bed.error = 'EIO';
      await bed.kick(write(1));
      await bed.second();
      assert.equal(bed.tried, 1);
      bed.error = undefined;
      await bed.second();
      assert.deepEqual([bed.tried, bed.harvest()], [1, []]);
      await bed.retry();
      assert.deepEqual(bed.harvest(), ['1 1: 0']);
    });

    test('reads go on while a write is held, and a read that is held holds nothing else', async () => {
      const bed = new Bed({ isAsync, onError: { read: 'stop', write: 'stop' } });
      bed.error = 'EIO';
      await bed.kick(write(1));
      bed.error = undefined;
      await bed.kick(blockRequest.read(2, 512), blockRequest.getId());
      assert.deepEqual(bed.harvest().sort(), ['0 2: 0', '8 0: 0']);
      bed.error = 'EIO';
      await bed.kick(blockRequest.read(3, 512), blockRequest.read(4, 512));
      await bed.retry();
      assert.deepEqual(bed.harvest(), []);
      bed.error = undefined;
      await bed.kick(blockRequest.read(5, 512));
      assert.deepEqual(bed.harvest(), ['0 5: 0']);
      await bed.retry();
      assert.deepEqual(bed.harvest().sort(), ['0 3: 0', '0 4: 0', '1 1: 0']);
    });

    test('what becomes free goes on until there is no room again, and nothing overtakes', async () => {
      const bed = new Bed({ isAsync });
      bed.error = 'ENOSPC';
      await bed.kick(write(1));
      await bed.kick(write(2), write(3), write(4));
      bed.error = undefined;
      bed.disk.device.retryHeld();
      while (bed.done.length < 2) await turn();
      bed.error = 'ENOSPC';
      await bed.rest();
      const before = bed.done.length;
      await bed.kick(write(5), blockRequest.flush());
      assert.equal(bed.disk.queue.inFlight, 6 - before);
      bed.error = undefined;
      await bed.second();
      assert.deepEqual(bed.done, ['write 1', 'write 2', 'write 3', 'write 4', 'write 5', 'flush']);
      assert.equal(bed.harvest().length, 6);
    });

    test('if another error comes when it is tried again, that is reported, and the rest goes on', async () => {
      const bed = new Bed({ isAsync });
      bed.error = 'ENOSPC';
      await bed.kick(write(1));
      await bed.kick(blockRequest.flush());
      bed.error = 'EIO';
      await bed.second();
      assert.deepEqual(bed.harvest(), [`1 1: ${IOERR}`, `4 0: ${OK}`]);
    });

    test('bytes are counted once, however often a request is tried', async () => {
      const bed = new Bed({ isAsync, onError: { read: 'stop' } });
      bed.error = 'ENOSPC';
      await bed.kick(write(1), blockRequest.read(1, 1024));
      assert.deepEqual(bed.disk.device.bytes, { read: 0, written: 0 });
      for (let i = 0; i < 3; i++) await bed.retry();
      bed.error = undefined;
      await bed.retry();
      assert.deepEqual(bed.disk.device.bytes, { read: 1024, written: 512 });
    });
  });
}

test('requests in flight that fail one after the other are held in the order of the driver', async () => {
  const calls: { offset: number; fail: (error: Error) => void }[] = [];
  const done: number[] = [];
  let isFull = true;
  const store: BlockStore = {
    sizeBytes: SIZE,
    read() {},
    write(offset) {
      if (!isFull) return void done.push(offset / 512);
      const { promise, reject } = Promise.withResolvers<void>();
      calls.push({ offset, fail: reject });
      return promise;
    },
  };
  const disk = new BlockLoopback(store);
  disk.kick([write(1), write(2), write(3)]);
  for (const { fail } of [calls[2], calls[0]] as typeof calls) fail(errorOf('ENOSPC'));
  await turn();
  disk.kick([write(4)]);
  calls[1]?.fail(errorOf('ENOSPC'));
  await turn();
  isFull = false;
  disk.device.retryHeld();
  await disk.settle();
  assert.deepEqual(done, [1, 2, 3, 4]);
});

test('a driver that goes on meanwhile does not keep its requests waiting for ever', async () => {
  const bed = new Bed({ isAsync: true });
  bed.error = 'ENOSPC';
  await bed.kick(write(1));
  bed.error = undefined;
  bed.disk.device.retryHeld();
  // Another request for each that completes: served one by one, there would be always one that waits.
  let sector = 2;
  for (let i = 0; i < 40; i++) {
    bed.disk.kick([write(sector++ % 60), write(sector++ % 60)]);
    await turn();
    bed.disk.driver.harvest();
  }
  assert.ok(bed.events.includes('resumed'));
  await bed.rest();
  assert.equal(bed.disk.queue.inFlight, 0);
});

const asChain = (request: BlockRequest) => ({
  readable: [encodeReadable(request)],
  writable: [request.inBytes + 1],
});

test('what is held counts as in flight: the rest stays in the ring, and nothing is lost', async () => {
  let isFull = true;
  const done: number[] = [];
  const store: BlockStore = {
    ...{ sizeBytes: SIZE, maxInFlight: 2, read: (offset) => void done.push(offset / 512) },
    write(offset) {
      if (isFull) throw errorOf('ENOSPC');
      done.push(offset / 512);
    },
  };
  const device = new BlockDevice(store, { queues: 1 });
  await using loop = await DeviceLoopback.start(device);
  const [queue] = loop.queues as [DeviceLoopback['queues'][0]];
  for (const request of [write(1), write(2), write(3), blockRequest.read(4, 512)]) queue.add(asChain(request));
  queue.kick();
  await eventually('the first is held', () => loop.lines.length > 0);
  for (let i = 0; i < 100; i++) await turn();
  assert.deepEqual([done, queue.harvest()], [[], []]);
  isFull = false;
  device.retryHeld();
  assert.equal((await queue.used(4)).length, 4);
  assert.deepEqual(done, [1, 2, 3, 4]);
});

suite('a queue that has to stop while requests are held', () => {
  const statuses = (used: readonly { bytes: Uint8Array }[]): (number | undefined)[] =>
    used.map(({ bytes }) => bytes.at(-1));

  for (const isAsync of [false, true])
    test(`they fail in order after the grace, and the queue can start again (${isAsync ? 'rejects' : 'throws'})`, async () => {
      const error = errorOf('ENOSPC');
      let isFull = true;
      const change = async (): Promise<void> => {
        if (isFull) throw error;
      };
      const at = (): undefined => {
        if (isFull) throw error;
      };
      const store: BlockStore = { name: 's', sizeBytes: SIZE, read() {}, write: isAsync ? change : at, flush() {} };
      await using loop = await DeviceLoopback.start(new BlockDevice(store, { queues: 2 }));
      const [first, second] = loop.queues as [(typeof loop.queues)[0], (typeof loop.queues)[0]];
      const heads = [write(1), write(2)].map((request) => first.add(asChain(request)));
      first.kick();
      await eventually('the first is held', () => loop.lines.length > 0);
      heads.push(first.add(asChain(blockRequest.flush())));
      first.kick();
      const read = await second.request(asChain(blockRequest.read(1, 512)));
      assert.equal(read.bytes.at(-1), OK);
      second.add(asChain(write(3)));
      second.kick();
      await second.request(asChain(blockRequest.read(1, 512)));
      await first.stop();
      const used = first.harvest();
      assert.deepEqual(
        used.map(({ head }) => head),
        heads,
      );
      assert.deepEqual(statuses(used), [IOERR, IOERR, IOERR]);
      assert.ok(loop.lines.includes('store s: the held requests of a queue fail (3): it has to stop'));
      // What waited behind them on the other queue is held alone.
      isFull = false;
      await first.start();
      assert.deepEqual(statuses(await second.used(1)), [OK]);
      assert.deepEqual(statuses([await first.request(asChain(write(1)))]), [OK]);
    });
});
