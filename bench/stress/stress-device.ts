// bench/stress: a device that serves at once or later, a few or all, with random pauses: each way to publish.

import type { DescriptorChain, DeviceQueue, VirtioDevice } from '../../src/index.ts';
import type { EventLoop } from '../../src/sys/event-loop.ts';
import type { PollPolicy } from '../../src/sys/pollable.ts';
import type { SeededRandom } from '../../src/testing/index.ts';
import type { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { QueueOptions, RunnableQueue } from '../../src/virtio/ring-format.ts';
import { SplitQueue } from '../../src/virtio/split/split-queue.ts';
import type { SplitRing } from '../../src/virtio/split/split-ring.ts';
import type { Pauses } from './pauses.ts';
import type { SideWords } from './side-words.ts';

export interface StressDeviceParts {
  readonly loop: EventLoop;
  readonly random: SeededRandom;
  readonly pauses: Pauses;
  readonly words: SideWords;
}

export class StressDevice implements VirtioDevice {
  readonly type = 0;
  readonly features = 0n;
  readonly queueSizes: readonly number[] = [];
  #queue!: RunnableQueue;
  readonly #loop: EventLoop;
  readonly #random: SeededRandom;
  readonly #pauses: Pauses;
  readonly #words: SideWords;
  readonly #held: DescriptorChain[] = [];
  #isLate = false;

  constructor({ loop, random, pauses, words }: StressDeviceParts) {
    this.#loop = loop;
    this.#random = random;
    this.#pauses = pauses;
    this.#words = words;
  }

  queueStarted(_index: number, queue: DeviceQueue): void {
    this.#queue = queue as RunnableQueue;
  }

  process(): void {
    this.#pauses.maybe();
    this.#isLate = this.#random.oneIn(8);
    this.#queue.drain(this.#serve);
    if (this.#held.length > 0) this.#loop.soon(this.#completeLate);
    this.#record();
  }

  readonly #serve = (chain: DescriptorChain, queue: DeviceQueue): void => {
    this.#pauses.maybe();
    if (this.#isLate && this.#random.flip()) this.#held.push(chain);
    else queue.markUsed(chain, chain.writable.totalBytes);
  };

  /** Completes some of the requests it held back, and is scheduled again for the others. */
  readonly #completeLate = (): void => {
    for (let count = 1 + this.#random.below(8); count > 0 && this.#held.length > 0; count--) {
      const chain = this.#held.splice(this.#random.below(this.#held.length), 1)[0] as DescriptorChain;
      this.#queue.markUsed(chain, chain.writable.totalBytes);
      if (this.#random.oneIn(4)) this.#queue.publish();
    }
    this.#pauses.maybe();
    this.#queue.publish();
    if (this.#held.length > 0) this.#loop.soon(this.#completeLate);
    this.#record();
  };

  #record(): void {
    const { base, inFlight, counters } = this.#queue;
    this.#words.at(base, inFlight, counters.requests);
    this.#words.saw(counters.kicks);
  }
}

/** Sleeps at once or polls for a while, at random. */
export class RandomPoll implements PollPolicy {
  readonly #random: SeededRandom;
  readonly #words: SideWords;

  constructor(random: SeededRandom, words: SideWords) {
    this.#random = random;
    this.#words = words;
  }

  pollNs(): number {
    // Or asleep: the policy is not called when polling ends in sleep.
    this.#words.phase = 'polling';
    return this.#random.flip() ? 0 : this.#random.below(60_000);
  }

  waited(_ns: number, foundByPolling: boolean): void {
    if (!foundByPolling) this.#words.slept();
  }
}

/** The real queue, with random pauses around `rearm`. */
export class PausingQueue extends SplitQueue {
  readonly #pauses: Pauses;
  readonly #forgetful: boolean;

  /** @param forgetful it does not look whether requests came meanwhile. */
  constructor(ring: SplitRing, memory: GuestMemory, options: QueueOptions, pauses: Pauses, forgetful: boolean) {
    super(ring, memory, options);
    this.#pauses = pauses;
    this.#forgetful = forgetful;
  }

  override rearm(): boolean {
    this.#pauses.often();
    const hasWork = super.rearm();
    this.#pauses.maybe();
    return hasWork && !this.#forgetful;
  }
}
