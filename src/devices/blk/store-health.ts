// First floor: tells the user when a store begins to fail, how often it did, and when it works again.
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

export class StoreHealth {
  readonly #store: string;
  readonly #log: Log;
  /** By request type, since when it fails and how often it did. */
  readonly #failing = new Map<number, { readonly sinceMs: number; count: number }>();

  constructor(storeName: string | undefined, log: Log) {
    this.#store = storeName === undefined ? 'the store' : `store ${storeName}`;
    this.#log = log;
  }

  /** Whether a success is news. */
  get isFailing(): boolean {
    return this.#failing.size > 0;
  }

  failed(type: number, offset: number, error: unknown): void {
    const failing = this.#failing.get(type) ?? { sinceMs: performance.now(), count: 0 };
    failing.count++;
    this.#failing.set(type, failing);
    const what = NAMES[type] ?? `request of type ${type}`;
    const where = type === blk.VIRTIO_BLK_T_FLUSH ? '' : ` at byte ${offset}`;
    this.#log(`${this.#store}: ${what}${where} failed: ${causeOf(error)}`, { event: 'store-failed', ...codeOf(error) });
  }

  succeeded(type: number): void {
    const failing = this.#failing.get(type);
    if (failing === undefined) return;
    this.#failing.delete(type);
    const { count, sinceMs } = failing;
    const seconds = ((performance.now() - sinceMs) / 1000).toFixed(1);
    const times = count === 1 ? '1 failure' : `${count.toLocaleString('en-US')} failures in ${seconds} s`;
    this.#log(`${this.#store}: a ${NAMES[type] ?? `request of type ${type}`} succeeds again, after ${times}`, {
      event: 'recovered',
    });
  }
}
