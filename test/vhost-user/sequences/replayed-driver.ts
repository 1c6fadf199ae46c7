// test/vhost-user/sequences: the driver behind a replay: uses the rings that run, watches those that are stopped.
import type { BlockResult } from '../../../src/testing/block-driver.ts';
import { type BlockRequest, blockRequest } from '../../../src/testing/block-request.ts';
import { eventually } from '../../../src/testing/raw-front-end.ts';
import type { ReplayedDescriptors } from './replayed-descriptors.ts';
import type { ReplayedRing } from './replayed-ring.ts';
import { RingState } from './ring-state.ts';
import type { WitnessedDisk } from './witnessed-disk.ts';

const F_CONFIG_WCE = 1n << 11n;
const LEFT_IN_FLIGHT = 2;

export interface ReplayedDriverOptions {
  readonly disk: WitnessedDisk;
  readonly descriptors: ReplayedDescriptors;
  /** Whether requests are left in flight after each use, for whatever message comes next. */
  readonly busy: boolean;
  /** Told of each thing that is wrong. */
  readonly problem: (what: string) => void;
}

export class ReplayedDriver {
  /** What was accepted last. */
  features = 0n;
  /** The cache mode that the driver was shown or chose last; undefined before either. */
  writeback: number | undefined;
  readonly #options: ReplayedDriverOptions;
  readonly #rings: RingState[] = [];
  #lastWritten = 0;

  constructor(options: ReplayedDriverOptions) {
    this.#options = options;
  }

  ring(index: number): RingState {
    this.#rings[index] ??= new RingState(index);
    return this.#rings[index];
  }

  /** Requests through every ring that runs, each of which has to come back once. Throws when one does not come back. */
  async useRings(): Promise<void> {
    const { disk, busy, problem } = this.#options;
    const running = this.#rings.filter((state) => state.isRunning);
    if (running.length === 0) problem('no ring runs where the driver used one');
    for (const state of running) {
      const flushes = disk.flushes;
      await this.#complete(state, [disk.newWrite(), disk.newWrite(), blockRequest.read(this.#lastWritten, 512)]);
      const isThrough = this.writeback === 0 && (this.features & F_CONFIG_WCE) !== 0n;
      if (isThrough && disk.flushes === flushes) problem('the driver chose writethrough, and nothing is flushed');
      await this.#complete(state, [blockRequest.read(this.#lastWritten, 512)]);
      if (!busy) continue;
      const left = Array.from({ length: LEFT_IN_FLIGHT }, () => disk.newWrite());
      this.#submit(state, left);
    }
  }

  async #complete(state: RingState, requests: readonly BlockRequest[]): Promise<void> {
    const ring = state.ring as ReplayedRing;
    const call = this.#options.descriptors.bell(state.call as string);
    call.heard();
    this.#submit(state, requests);
    await eventually(`ring ${state.index} serves ${requests.length} requests`, () => {
      this.#harvest(state);
      return ring.inFlight.length === 0;
    });
    await eventually(`a call for ring ${state.index}`, () => call.heard());
  }

  #submit(state: RingState, requests: readonly BlockRequest[]): void {
    const ring = state.ring as ReplayedRing;
    // A completion that is there before the driver asks for a call brings none.
    do this.#harvest(state);
    while (ring.requestCalls());
    if (ring.submit(requests)) this.#options.descriptors.bell(state.kick as string).ring();
  }

  /** Takes what came back. Throws DeviceError for what was not in flight. */
  #harvest({ ring, index }: RingState): void {
    for (const { request, status, data } of ring?.harvest() ?? []) this.#lookAtResult(index, request, status, data);
  }

  #lookAtResult(index: number, request: BlockRequest, status: number, data: BlockResult['data']): void {
    const { disk, problem } = this.#options;
    if (status !== 0) problem(`ring ${index}: a request of type ${request.type} came back with status ${status}`);
    if (request.out.length > 0) {
      disk.written(request);
      this.#lastWritten = request.sector;
    } else if (disk.expectedAt(request.sector).some((byte, i) => byte !== data[i]))
      problem(`ring ${index}: sector ${request.sector} does not read as it was written`);
  }

  /** The back end has stopped a ring. From here on its used index must not change, and its memory is the guest's. */
  stopped(state: RingState): void {
    const { ring, index } = state;
    if (ring === undefined || state.stoppedAt !== undefined) return;
    this.#harvest(state);
    state.stoppedAt = ring.usedIndex;
    if (!ring.asksForKicks()) this.#options.problem(`ring ${index} is stopped and does not ask to be kicked`);
    ring.reuseMemory();
  }

  /** A back end's answer to GET_VRING_BASE, for what it answered in the recording. */
  hasBase(state: RingState, base: number, recorded: number): void {
    const { busy, problem } = this.#options;
    state.answered(recorded, base);
    this.stopped(state);
    state.kick = undefined;
    const { ring, index } = state;
    if (ring === undefined) return;
    if (base !== ring.usedIndex) problem(`ring ${index}: the base is ${base} after ${ring.usedIndex} requests`);
    if (!busy && ring.inFlight.length > 0) problem(`ring ${index}: ${ring.inFlight.length} requests are not done`);
    this.lookAtDisk();
  }

  /** The connection is closed, and with it the state of the rings is dropped. */
  disconnected(): void {
    for (const state of this.#rings) state.kick = undefined;
  }

  /** The back end is gone; it stopped what ran. */
  lostBackEnd(): void {
    for (const state of this.#rings) this.stopped(state);
  }

  /** A ring is set up anew: what was in flight on the old one never comes back. */
  gaveUp(ring: ReplayedRing): void {
    for (const request of ring.inFlight) this.#options.disk.givenUp(request);
  }

  lookAtStoppedRings(): void {
    const { problem } = this.#options;
    for (const state of this.#rings) {
      const { ring, stoppedAt, index } = state;
      if (ring === undefined) continue;
      if (stoppedAt !== undefined && ring.usedIndex !== stoppedAt) {
        problem(`ring ${index} is stopped at ${stoppedAt}, and its used index goes to ${ring.usedIndex}`);
        state.stoppedAt = ring.usedIndex;
      }
      if (ring.disturbed()) problem(`ring ${index}: memory of an old request was written to`);
    }
  }

  lookAtDisk(): void {
    const pending = this.#rings.flatMap(({ ring }) => ring?.inFlight ?? []).map(({ sector }) => sector);
    for (const what of this.#options.disk.problems(new Set(pending))) this.#options.problem(what);
  }
}
