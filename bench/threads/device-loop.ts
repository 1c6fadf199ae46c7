// bench/threads: the loop of a device thread with one queue, shaped as src/sys/event-loop.ts; only its doorbell is exchanged.
import type { PollPolicy } from '../../src/sys/pollable.ts';
import type { Doorbell } from './doorbell.ts';
import type { OwnedQueue } from './owned-queue.ts';
import type { StopWord } from './stop-word.ts';

const CLOCK_LOOKS = 16;

export interface DeviceLoopParts {
  readonly owned: OwnedQueue;
  readonly doorbell: Doorbell;
  readonly policy: PollPolicy | undefined;
  readonly stop: StopWord;
  /** The mistake of many drain loops: asks for kicks again and sleeps, without a last look. */
  readonly forgetful: boolean;
}

export class DeviceLoop {
  /** Times it came back from waiting for the doorbell. */
  wakeUps = 0;
  readonly #parts: DeviceLoopParts;

  constructor(parts: DeviceLoopParts) {
    this.#parts = parts;
  }

  /** Serves until stopped and rung. */
  run(): void {
    const { policy, doorbell, stop } = this.#parts;
    this.#drain();
    while (!stop.isSet) {
      const startedMs = performance.now();
      const pollNs = policy?.pollNs() ?? 0;
      if (pollNs > 0) this.#poll(startedMs, pollNs / 1e6);
      if (stop.isSet) return;
      doorbell.wait();
      this.wakeUps++;
      this.#drain();
      policy?.waited((performance.now() - startedMs) * 1e6, false);
    }
  }

  #drain(): void {
    const { owned, forgetful } = this.#parts;
    if (forgetful) owned.queue.suppress();
    owned.serve();
    if (forgetful) owned.queue.rearm();
  }

  #poll(startedMs: number, patienceMs: number): void {
    const { owned, policy, stop } = this.#parts;
    const { queue } = owned;
    queue.suppress();
    let idleSinceMs = startedMs;
    for (let looks = 1; !stop.isSet; ) {
      if (queue.hasWork()) {
        owned.serve();
        const nowMs = performance.now();
        if (looks > 1) policy?.waited((nowMs - idleSinceMs) * 1e6, true);
        idleSinceMs = nowMs;
        looks = 1;
      } else if (++looks % CLOCK_LOOKS === 0 && performance.now() - idleSinceMs > patienceMs) break;
    }
    if (queue.rearm()) this.#drain();
  }
}
