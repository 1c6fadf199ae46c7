// bench/stress: a driver that submits, polls, sleeps, requests calls and suppresses them, in random order.
import { Epoll } from '../../src/sys/epoll.ts';
import type { EventFd } from '../../src/sys/event-fd.ts';
import type { DriverBuffer, DriverQueue, SeededRandom } from '../../src/testing/index.ts';
import type { StopWord } from '../threads/shared-queue.ts';
import { Pauses } from './pauses.ts';
import type { SideWords } from './side-words.ts';

export interface StressDriverParts {
  readonly queue: DriverQueue;
  readonly random: SeededRandom;
  readonly kick: EventFd;
  readonly call: EventFd;
  readonly words: SideWords;
  readonly stop: StopWord;
  /** Chains to choose from; their buffers may be shared, since the bytes are not checked. */
  readonly chains: readonly (readonly DriverBuffer[])[];
  /** Asks to be called and sleeps, without looking whether completions came meanwhile. */
  readonly forgetful: boolean;
}

/** Its sleep has no limit; this is how soon it notices that the run was stopped. */
const STOP_LOOK_MS = 50;
const DESCRIPTORS_MAX = 3;

export class StressDriver {
  readonly #parts: StressDriverParts;
  readonly #pauses: Pauses;
  readonly #epoll = new Epoll();
  readonly #depthMax: number;
  #depth = 1;
  #inFlight = 0;
  #done = 0;
  #callsSeen = 0;

  constructor(parts: StressDriverParts) {
    this.#parts = parts;
    this.#pauses = new Pauses(parts.random);
    this.#depthMax = Math.floor(parts.queue.size / DESCRIPTORS_MAX);
    this.#epoll.add(parts.call.fd, 0);
  }

  /** Runs until `requests` requests came back, or it is stopped. */
  run(requests: number): void {
    const { random, stop } = this.#parts;
    for (let submitted = 0; (submitted < requests || this.#inFlight > 0) && !stop.isSet; ) {
      // A few at most, or as many as fit: some defects appear only at one depth.
      if (random.oneIn(64)) this.#depth = 1 + random.below(random.flip() ? 4 : this.#depthMax);
      submitted += this.#submit(Math.min(requests - submitted, this.#depth - this.#inFlight));
      this.#pauses.maybe();
      // Waiting for all requests shows a loss that a later kick would hide.
      this.#await(submitted === requests || random.flip() ? 0 : random.below(this.#inFlight + 1));
    }
    this.#epoll[Symbol.dispose]();
  }

  #submit(most: number): number {
    const { queue, random, chains, kick, words } = this.#parts;
    const count = most > 0 ? 1 + random.below(most) : 0;
    if (count === 0) return 0;
    words.phase = 'working';
    for (let i = 0; i < count; i++) queue.add(random.of(chains));
    this.#inFlight += count;
    this.#record();
    queue.publish();
    if (queue.needsKick()) {
      words.sends();
      kick.signal();
    }
    return count;
  }

  /** Takes completions until at most `left` requests are in flight. */
  #await(left: number): void {
    const { random, stop, queue } = this.#parts;
    this.#harvest();
    while (this.#inFlight > left && !stop.isSet) {
      if (random.oneIn(4)) this.#poll();
      else this.#sleep(random.below(this.#inFlight - left));
      this.#harvest();
    }
    // Requesting calls while it is busy is allowed too.
    if (random.oneIn(16)) queue.requestCalls();
    else if (random.flip()) queue.suppressCalls();
  }

  #poll(): void {
    const { queue, words, stop } = this.#parts;
    words.phase = 'polling';
    while (!queue.hasUsed() && !stop.isSet);
  }

  /** Sleeps until the device calls, which it is asked to do when `after` + 1 more completions are there. */
  #sleep(after: number): void {
    const { queue, words, stop, call, forgetful } = this.#parts;
    this.#pauses.often();
    if (queue.requestCalls(after) && !forgetful) return;
    words.phase = 'asleep';
    // Only a call ends this: what was lost stays lost, and is detected.
    while (!stop.isSet) {
      if (this.#epoll.wait(STOP_LOOK_MS) === 0 || !call.clear()) continue;
      words.saw(++this.#callsSeen);
      break;
    }
    words.slept();
  }

  #harvest(): void {
    const taken = this.#parts.queue.harvest(() => {});
    this.#inFlight -= taken;
    this.#done += taken;
    this.#record();
  }

  #record(): void {
    this.#parts.words.at(this.#parts.queue.usedIndex, this.#inFlight, this.#done);
  }
}
