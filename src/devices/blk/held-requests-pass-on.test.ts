// Requests that are held when another process goes on: which are left to it, which stay, and what must not overtake.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { HeldRequests, type OpenRequest } from './held-requests.ts';
import * as blk from './spec.ts';
import { StoreHealth } from './store-health.ts';

const full = Object.assign(new Error('full'), { code: 'ENOSPC' });
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

class Bed {
  readonly left: number[] = [];
  readonly tried: number[] = [];
  readonly failed: number[] = [];
  /** What becomes of a request that is tried again; it succeeds by default. */
  isFailing = false;
  readonly abort = new AbortController();
  readonly held: HeldRequests;
  #order = 0;

  constructor() {
    const health = new StoreHealth('s', { log: () => {}, timer: () => undefined });
    this.held = new HeldRequests(health, {
      retry: async (request) => {
        this.tried.push(request.sector);
        await turns();
        if (this.isFailing) this.held.hold(request, full);
      },
      fail: ({ sector }) => this.failed.push(sector),
      timer: () => {},
    });
  }

  request(sector: number, type: number = blk.VIRTIO_BLK_T_OUT, isRecorded = true): OpenRequest {
    const queue = { isRecorded, signal: this.abort.signal, leave: () => this.left.push(sector) };
    return {
      ...{ chain: {} as DescriptorChain, queue: queue as unknown as DeviceQueue },
      ...{ type, sector, order: this.#order++ },
    };
  }
}

test('what is held is left at once, and what fails or waits afterwards too; nothing is tried again', async () => {
  const bed = new Bed();
  bed.held.hold(bed.request(1), full);
  bed.held.wait(bed.request(2));
  bed.held.hold(bed.request(3, blk.VIRTIO_BLK_T_IN), full);
  assert.equal(bed.held.unrecorded, 0);
  bed.held.passOn();
  assert.deepEqual(bed.left, [3, 1, 2]);
  bed.held.wait(bed.request(4));
  bed.held.hold(bed.request(5, blk.VIRTIO_BLK_T_IN), full);
  assert.deepEqual(bed.left, [3, 1, 2, 4, 5]);
  bed.held.retry();
  bed.abort.abort();
  await turns();
  assert.deepEqual([bed.tried, bed.failed], [[], []]);
});

test('a write that fails after that holds the later ones back', () => {
  const bed = new Bed();
  bed.held.passOn();
  assert.equal(bed.held.holdsWrites, false);
  bed.held.hold(bed.request(1), full);
  assert.deepEqual([bed.left, bed.held.holdsWrites], [[1], true]);
});

for (const isFailing of [true, false])
  test(`one that is being tried again and ${isFailing ? 'fails' : 'succeeds'}: no other overtakes those that were left`, async () => {
    const bed = new Bed();
    bed.isFailing = isFailing;
    for (const sector of [1, 2, 3]) bed.held.hold(bed.request(sector), full);
    bed.held.retry();
    bed.held.passOn();
    await turns();
    await turns();
    assert.deepEqual([bed.tried, bed.left], [[1], isFailing ? [2, 3, 1] : [2, 3]]);
    assert.equal(bed.held.holdsWrites, true);
  });

test('where requests are not recorded they are counted, stay, and fail when the queue has to stop', () => {
  const bed = new Bed();
  bed.held.hold(bed.request(1, blk.VIRTIO_BLK_T_OUT, false), full);
  bed.held.wait(bed.request(2, blk.VIRTIO_BLK_T_OUT, false));
  assert.equal(bed.held.unrecorded, 2);
  bed.held.passOn();
  assert.deepEqual(bed.left, []);
  bed.abort.abort();
  assert.deepEqual(bed.failed, [1, 2]);
});
