// stores/filters: the base of every filter: a store that forwards every call to another one.
import type { BlockStore } from '../../devices/blk/block-store.ts';

/**
 * Returns a store that forwards every call to `next`. It has exactly the members of `next`, since presence means
 * capability. A filter replaces or deletes some of them.
 */
export function forward(next: BlockStore): { -readonly [member in keyof BlockStore]: BlockStore[member] } {
  return {
    get sizeBytes() {
      return next.sizeBytes;
    },
    ...(next.name !== undefined && { name: next.name }),
    ...(next.alignment !== undefined && { alignment: next.alignment }),
    ...(next.maxInFlight !== undefined && { maxInFlight: next.maxInFlight }),
    ...(next.physicalBlockBytes !== undefined && { physicalBlockBytes: next.physicalBlockBytes }),
    ...(next.attach && { attach: next.attach.bind(next) }),
    read: next.read.bind(next),
    ...(next.write && { write: next.write.bind(next) }),
    ...(next.readv && { readv: next.readv.bind(next) }),
    ...(next.writev && { writev: next.writev.bind(next) }),
    ...(next.prefetch && { prefetch: next.prefetch.bind(next) }),
    ...(next.flush && { flush: next.flush.bind(next) }),
    ...(next.discard && { discard: next.discard.bind(next) }),
    ...(next.writeZeroes && { writeZeroes: next.writeZeroes.bind(next) }),
    ...(next.refreshSize && { refreshSize: next.refreshSize.bind(next) }),
    ...(next.close && { close: next.close.bind(next) }),
  };
}

/**
 * Whether a returned value is a promise. Any other value (the number of `readSync`, the array of `fill`) means "done".
 */
export function isLater(answer: unknown): answer is PromiseLike<unknown> {
  return typeof (answer as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
