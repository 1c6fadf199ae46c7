// First floor: tells the user when a store fails or does not answer, and when it works again.
import type { DeviceContext } from '../../virtio/device.ts';
import { codeOf, type Log } from '../../virtio/log.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';
import * as blk from './spec.ts';

const NAMES: { readonly [type: number]: string } = {
  [blk.VIRTIO_BLK_T_IN]: 'read',
  [blk.VIRTIO_BLK_T_OUT]: 'write',
  [blk.VIRTIO_BLK_T_FLUSH]: 'flush',
  [blk.VIRTIO_BLK_T_DISCARD]: 'discard',
  [blk.VIRTIO_BLK_T_WRITE_ZEROES]: 'write of zeroes',
};

/** A store that owes an answer for so long is named; again after twice as long, and so on. */
const SILENCE_MS = 1000;

/** A request that the store answers later. */
export interface Asked {
  readonly type: number;
  readonly offset: number;
  readonly sinceMs: number;
  /** Whether the user knows that it waits. */
  isTold: boolean;
}

/** What a device's context has for it. The timer is there once the device is attached. */
export interface StoreHealthContext {
  readonly log: Log;
  timer(...args: Parameters<DeviceContext['timer']>): Disposable | undefined;
}

export class StoreHealth {
  readonly #store: string;
  readonly #context: StoreHealthContext;
  /** By request type, since when it fails and how often it did. */
  readonly #failing = new Map<number, { readonly sinceMs: number; count: number }>();

  /** The oldest first. */
  readonly #asked = new Set<Asked>();
  #watch: Disposable | undefined;

  constructor(storeName: string | undefined, context: StoreHealthContext) {
    this.#store = storeName === undefined ? 'the store' : `store ${storeName}`;
    this.#context = context;
  }

  /** The store answers a request later. Returns what `answered` takes. */
  asked(type: number, offset: number): Asked {
    const asked = { type, offset, sinceMs: performance.now(), isTold: false };
    this.#asked.add(asked);
    this.#watch ??= this.#context.timer(SILENCE_MS, () => this.#look());
    return asked;
  }

  answered(asked: Asked): void {
    this.#asked.delete(asked);
    if (!asked.isTold) return;
    const seconds = ((performance.now() - asked.sinceMs) / 1000).toFixed(1);
    this.#context.log(`${this.#store}: ${nameOf(asked)} was answered after ${seconds} s`, { event: 'recovered' });
    // Whatever waits behind it is told of as soon.
    this.#watch?.[Symbol.dispose]();
    this.#watch = this.#context.timer(SILENCE_MS, () => this.#look());
  }

  #look(): void {
    this.#watch = undefined;
    const [oldest] = this.#asked;
    if (oldest === undefined) return;
    const waitedMs = performance.now() - oldest.sinceMs;
    const isLong = waitedMs >= SILENCE_MS;
    this.#watch = this.#context.timer(isLong ? waitedMs : SILENCE_MS - waitedMs, () => this.#look());
    if (!isLong) return;
    oldest.isTold = true;
    const others = this.#asked.size === 1 ? '' : `; ${this.#asked.size} requests wait for it`;
    const line = `${this.#store}: no answer to ${nameOf(oldest)} for ${Math.round(waitedMs / 1000)} s${others}`;
    this.#context.log(line, { event: 'store-waits' });
  }

  /** Whether a success is news. */
  get isFailing(): boolean {
    return this.#failing.size > 0;
  }

  failed(type: number, offset: number, error: unknown): void {
    const failing = this.#failing.get(type) ?? { sinceMs: performance.now(), count: 0 };
    failing.count++;
    this.#failing.set(type, failing);
    const line = `${this.#store}: ${nameOf({ type, offset })} failed: ${causeOf(error)}`;
    this.#context.log(line, { event: 'store-failed', ...codeOf(error) });
  }

  succeeded(type: number): void {
    const failing = this.#failing.get(type);
    if (failing === undefined) return;
    this.#failing.delete(type);
    const { count, sinceMs } = failing;
    const seconds = ((performance.now() - sinceMs) / 1000).toFixed(1);
    const times = count === 1 ? '1 failure' : `${count.toLocaleString('en-US')} failures in ${seconds} s`;
    this.#context.log(`${this.#store}: a ${NAMES[type] ?? `request of type ${type}`} succeeds again, after ${times}`, {
      event: 'recovered',
    });
  }
}

function nameOf({ type, offset }: Pick<Asked, 'type' | 'offset'>): string {
  const what = NAMES[type] ?? `request of type ${type}`;
  return type === blk.VIRTIO_BLK_T_FLUSH ? what : `${what} at byte ${offset}`;
}
