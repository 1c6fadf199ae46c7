// test/reference: a driver and a device on one ring that act only when notified, and a model of when they must be.
import assert from 'node:assert/strict';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import type { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../src/virtio/device-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { SplitQueue } from '../../src/virtio/split/split-queue.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';

/** How the driver asks for notifications: at each completion, at every second one, or not at all (it polls). */
export const DRIVER_MODES = ['each', 'second', 'polls'] as const;

export interface RingWorldOptions {
  readonly size: number;
  readonly start: number;
  readonly features: bigint;
  /** Whether the device completes requests later, one at a time, or while it drains. */
  readonly later: boolean;
  readonly mode: (typeof DRIVER_MODES)[number];
  /** Check each call against what the driver asked when the step began. True unless said: it must not act meanwhile. */
  readonly watchCalls?: boolean;
}

const BUFFERS_AT = 512;

export class RingWorld {
  readonly driver: DriverQueue;
  readonly queue: SplitQueue;
  /** A notification is under way, to either side. */
  kicked = false;
  called = false;
  /** Requests made, by the address of their buffer; true when they came back. */
  readonly requests = new Map<number, boolean>();
  readonly #options: RingWorldOptions;
  readonly #eventIdx: boolean;
  readonly #held: DescriptorChain[] = [];
  /** Buffer of each request by head, for as long as the driver has it out. */
  readonly #bufferOf = new Map<number, number>();
  readonly #served: number[] = [];
  #nextBuffer = BUFFERS_AT;
  #everCalled = false;
  #isTurnOver = false;

  constructor(options: RingWorldOptions, bytes = new Uint8Array(1024).fill(0)) {
    const { size, start, features } = options;
    this.#options = options;
    this.#eventIdx = (features & VIRTIO_F_EVENT_IDX) !== 0n;
    const memory = new DriverMemory(bytes);
    this.driver = new DriverQueue(memory, { size, start, features });
    this.queue = new SplitQueue(new SplitRing(size, this.driver.layout), new GuestMemory([memory]), {
      features,
      base: start,
      again: () => {
        this.#isTurnOver = true;
      },
      notify: () => {
        this.called = true;
      },
    });
    this.#requestCalls();
    // The look at a ring that a device takes when it starts.
    this.drain();
  }

  get held(): number {
    return this.#held.length;
  }

  /** The driver makes `count` requests, shows them at once, and kicks if it has to. */
  add(count: number): void {
    const before = this.driver.availableIndex;
    for (let i = 0; i < count; i++) {
      const address = this.#nextBuffer++;
      const length = 1 + (address % 3);
      this.#bufferOf.set(this.driver.add([{ address, length, writable: true }]), address);
      this.requests.set(address, false);
    }
    this.driver.publish();
    const wanted = this.#eventIdx
      ? reaches(before, this.driver.availableIndex, this.driver.used[2 + 4 * this.driver.size] as number)
      : this.driver.used[0] === 0;
    const kicks = this.driver.needsKick();
    assert.equal(kicks, wanted, 'kick');
    if (kicks) this.kicked = true;
  }

  /** The device answers a kick. */
  drain(): void {
    this.kicked = false;
    this.#expectingCall(() => {
      do {
        this.#isTurnOver = false;
        this.queue.drain((chain, queue) => this.#serve(chain, queue));
      } while (this.#isTurnOver);
    });
  }

  #serve(chain: DescriptorChain, queue: DeviceQueue): void {
    const address = this.#bufferOf.get(chain.head) as number;
    assert.equal(chain.writable.totalBytes, 1 + (address % 3));
    this.#served.push(address);
    if (this.#options.later) this.#held.push(chain);
    else queue.markUsed(chain, chain.writable.totalBytes);
  }

  /** The device completes one request it holds. */
  complete(at: number): void {
    const [chain] = this.#held.splice(at, 1) as [DescriptorChain];
    this.#expectingCall(() => {
      this.queue.markUsed(chain, chain.writable.totalBytes);
      this.queue.publish();
    });
  }

  /** Runs a step of the device, and checks that it notifies the driver if and only if the driver asked. */
  #expectingCall(step: () => void): void {
    if (this.#options.watchCalls === false) return step();
    const { driver } = this;
    const calledBefore = this.called;
    const usedBefore = driver.used[1] as number;
    const flags = driver.available[0];
    const usedEvent = driver.available[2 + driver.size] as number;
    this.called = false;
    step();
    const usedAfter = driver.used[1] as number;
    const asked = this.#eventIdx ? !this.#everCalled || reaches(usedBefore, usedAfter, usedEvent) : flags === 0;
    const moved = usedBefore !== usedAfter;
    assert.equal(this.called, moved && asked, 'call');
    if (moved) this.#everCalled = true;
    this.called ||= calledBefore;
  }

  /** The driver answers a call: takes what there is, asks for more, looks again. */
  harvest(): void {
    this.called = false;
    do {
      this.driver.harvest((head, usedLength) => {
        const address = this.#bufferOf.get(head) as number;
        this.#bufferOf.delete(head);
        assert.equal(this.requests.get(address), false, 'a request came back twice');
        assert.equal(usedLength, 1 + (address % 3));
        this.requests.set(address, true);
      });
    } while (this.#requestCalls());
  }

  #requestCalls(): boolean {
    if (this.#options.mode === 'polls') this.driver.suppressCalls();
    return this.#options.mode !== 'polls' && this.driver.requestCalls(this.#options.mode === 'second' ? 1 : 0);
  }

  /** Lets everything that was set going come to rest, by notifications alone; nothing may be left behind. */
  settle(): void {
    while (this.kicked || this.#held.length > 0 || this.called) {
      if (this.kicked) this.drain();
      while (this.#held.length > 0) this.complete(0);
      if (this.called) this.harvest();
    }
    // Whoever polls, or waits for a second completion that never comes, looks by itself.
    if (this.#options.mode !== 'each') this.harvest();
    assert.deepEqual([...this.requests.values()].indexOf(false), -1, 'a request was lost');
    assert.deepEqual(this.#served, [...this.requests.keys()], 'requests as the device saw them');
    assert.equal(this.driver.freeDescriptors, this.driver.size);
    assert.equal(this.queue.inFlight, 0);
    assert.equal(this.queue.base, this.driver.availableIndex);
  }
}

/** Whether an index that goes from `before` to `after` places an entry at `event`: what vring_need_event computes. */
function reaches(before: number, after: number, event: number): boolean {
  for (let index = before; index !== after; index = (index + 1) & 0xffff) if (index === event) return true;
  return false;
}
