// virtio-blk: passes the offsets of the next batch of requests to a store with `prefetch`.

import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { ExpectBatch } from '../../virtio/device-queue.ts';
import type { Log } from '../../virtio/log.ts';
import { causeOf, isLater } from '../../virtio/maybe-promise.ts';
import type { BlockStore } from './block-store.ts';
import { REQUEST_HEADER_BYTES, SECTOR_BYTES } from './spec.ts';

/** More than any queue pops in a batch. */
const OFFSETS_MAX = 256;

/** Returns the `expect` argument of `drain`; undefined where the store has no `prefetch`. */
export function blockExpectation(store: BlockStore, log: Log): ExpectBatch | undefined {
  if (store.prefetch === undefined) return undefined;
  const offsets = new Float64Array(OFFSETS_MAX);
  const report = (thrown: unknown): void =>
    log(`store ${store.name ?? 'of this disk'}: prefetch failed: ${causeOf(thrown)}`, { event: 'store-failed' });
  return (batch, count) => {
    if (count === 1) return; // nothing to overlap with
    const { sizeBytes } = store;
    let wanted = 0;
    for (let i = 0; i < count && wanted < OFFSETS_MAX; i++) {
      const { readable } = batch[i] as DescriptorChain;
      if (readable.totalBytes < REQUEST_HEADER_BYTES) continue;
      // Only a hint: the driver may change these words before the request is served.
      const offset = readable.uint64(8) * SECTOR_BYTES;
      if (offset < sizeBytes) offsets[wanted++] = offset;
    }
    try {
      const answer: unknown = store.prefetch?.(offsets, wanted);
      if (isLater(answer)) Promise.resolve(answer).catch(report);
    } catch (error) {
      report(error);
    }
  };
}
