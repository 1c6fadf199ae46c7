// virtio-blk: logs when a store fails or does not answer, and when it works again.
import type { DeviceContext } from '../../virtio/device.ts';
import { codeOf, type EventName, type Log } from '../../virtio/log.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';
import * as blk from './spec.ts';

const NAMES: { readonly [type: number]: string } = {
  [blk.VIRTIO_BLK_T_IN]: 'read',
  [blk.VIRTIO_BLK_T_OUT]: 'write',
  [blk.VIRTIO_BLK_T_FLUSH]: 'flush',
  [blk.VIRTIO_BLK_T_DISCARD]: 'discard',
  [blk.VIRTIO_BLK_T_WRITE_ZEROES]: 'write of zeroes',
};

const READ_HELD = '; it waits until SIGCONT has it tried again: put the disk right, then send that signal';
const WRITE_HELD =
  '; it waits, with all later writes, until SIGCONT has it tried again: put the disk right, then send that signal';
const WRITE_HELD_A_SECOND =
  '; it waits, with all later writes, until there is room: it is tried again every second, and on SIGCONT';
/** What the first of several flushes that fail means. */
const FLUSH_FAILED =
  '; what was written since the last flush may be lost, and is not written again: ' +
  'stop the guest, look after the disk, then check the file systems on it';

/** A request that is pending for so long is logged; again after twice as long, and so on. */
const SLOW_MS = 1000;

/** A request for which the store returned a promise. */
export interface PendingRequest {
  readonly type: number;
  readonly offset: number;
  readonly sinceMs: number;
  /** Whether it was logged as slow. */
  isLogged: boolean;
}

/** The part of a device's context that it uses. There is no timer before the device is attached. */
export interface StoreHealthContext {
  readonly log: Log;
  timer(...args: Parameters<DeviceContext['timer']>): Disposable | undefined;
}

/** The health of one store, for the log. */
export class StoreHealth {
  readonly #store: string;
  readonly #context: StoreHealthContext;
  /** By request type: since when it fails, and how often it did. */
  readonly #failing = new Map<number, { readonly sinceMs: number; count: number }>();
  /** The oldest first. */
  readonly #pending = new Set<PendingRequest>();
  #watch: Disposable | undefined;
  /** Since when requests are held; undefined: none is. */
  #heldSinceMs: number | undefined;
  #isHoldLogged = false;

  constructor(storeName: string | undefined, context: StoreHealthContext) {
    this.#store = storeName === undefined ? 'the store' : `store ${storeName}`;
    this.#context = context;
  }

  /** The store returned a promise for a request. Returns the argument of `requestCompleted`. */
  requestPending(type: number, offset: number): PendingRequest {
    const request = { type, offset, sinceMs: performance.now(), isLogged: false };
    this.#pending.add(request);
    this.#watch ??= this.#context.timer(SLOW_MS, () => this.#checkOldest());
    return request;
  }

  /** The promise of a request has settled. */
  requestCompleted(request: PendingRequest): void {
    this.#pending.delete(request);
    if (!request.isLogged) return;
    const seconds = ((performance.now() - request.sinceMs) / 1000).toFixed(1);
    this.#context.log(`${this.#store}: ${nameOf(request)} was answered after ${seconds} s`, { event: 'recovered' });
    // The next oldest request is checked after the same time.
    this.#watch?.[Symbol.dispose]();
    this.#watch = this.#context.timer(SLOW_MS, () => this.#checkOldest());
  }

  #checkOldest(): void {
    this.#watch = undefined;
    const [oldest] = this.#pending;
    if (oldest === undefined) return;
    const waitedMs = performance.now() - oldest.sinceMs;
    const isLong = waitedMs >= SLOW_MS;
    this.#watch = this.#context.timer(isLong ? waitedMs : SLOW_MS - waitedMs, () => this.#checkOldest());
    if (!isLong) return;
    oldest.isLogged = true;
    const others = this.#pending.size === 1 ? '' : `; ${this.#pending.size} requests wait for it`;
    const line = `${this.#store}: no answer to ${nameOf(oldest)} for ${Math.round(waitedMs / 1000)} s${others}`;
    this.#context.log(line, { event: 'store-waits' });
  }

  /** Whether a success has to be reported to `succeeded`. */
  get isFailing(): boolean {
    return this.#failing.size > 0;
  }

  /** A request failed: logs it. */
  failed(type: number, offset: number, error: unknown): void {
    const failing = this.#failing.get(type) ?? { sinceMs: performance.now(), count: 0 };
    failing.count++;
    this.#failing.set(type, failing);
    const isFirstFlush = type === blk.VIRTIO_BLK_T_FLUSH && failing.count === 1;
    this.#logFailure('store-failed', type, offset, error, isFirstFlush ? FLUSH_FAILED : '');
  }

  /** A request failed, and the driver is told that it succeeded. */
  ignored(type: number, offset: number, error: unknown): void {
    this.#logFailure('store-failed', type, offset, error, '; it is ignored: the guest is told that it succeeded');
  }

  #logFailure(event: EventName, type: number, offset: number, error: unknown, outcome: string): void {
    const line = `${this.#store}: ${nameOf({ type, offset })} failed: ${causeOf(error)}${outcome}`;
    this.#context.log(line, { event, ...codeOf(error) });
  }

  /** A request failed and is held; `isTimed`: it is tried again every second. Only the first is logged. */
  held(type: number, offset: number, error: unknown, isTimed: boolean): void {
    this.#heldSinceMs ??= performance.now();
    if (this.#isHoldLogged) return;
    this.#isHoldLogged = true;
    const untilTold = type === blk.VIRTIO_BLK_T_IN ? READ_HELD : WRITE_HELD;
    this.#logFailure('held', type, offset, error, isTimed ? WRITE_HELD_A_SECOND : untilTold);
  }

  /** The user had the held requests tried again: the next failure is logged. */
  heldAreRetried(): void {
    this.#isHoldLogged = false;
  }

  /** No request is held. */
  noneHeld(): void {
    if (this.#heldSinceMs === undefined) return;
    const seconds = ((performance.now() - this.#heldSinceMs) / 1000).toFixed(1);
    this.#heldSinceMs = undefined;
    this.#isHoldLogged = false;
    this.#context.log(`${this.#store}: no request is held any more, after ${seconds} s`, { event: 'resumed' });
  }

  /** `count` requests that were held fail. */
  heldAreFailed(count: number): void {
    const line = `${this.#store}: the held requests of a queue fail (${count}): it has to stop`;
    this.#context.log(line, { event: 'store-failed' });
  }

  /** A request succeeded: logs it if requests of this type failed before. */
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

function nameOf({ type, offset }: Pick<PendingRequest, 'type' | 'offset'>): string {
  const what = NAMES[type] ?? `request of type ${type}`;
  return type === blk.VIRTIO_BLK_T_FLUSH ? what : `${what} at byte ${offset}`;
}
