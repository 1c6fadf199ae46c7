// stores/filters: a filter that makes a disk slow, to test what its users do then.
import { setTimeout } from 'node:timers/promises';
import type { StoreFilter } from '../../devices/blk/block-store.ts';
import { forward } from './forward.ts';

/**
 * Delays each request: a read by `readMs`, any other one by `writeMs`, 0 by default. Delays of several requests
 * overlap.
 */
export function delay({ readMs = 0, writeMs = 0 }: { readMs?: number; writeMs?: number }): StoreFilter {
  return (next) => {
    const late =
      <Args extends unknown[]>(ms: number, member: (...args: Args) => unknown) =>
      async (...args: Args): Promise<void> => {
        await setTimeout(ms);
        await member(...args);
      };
    const store = forward(next);
    if (readMs > 0) {
      store.read = late(readMs, store.read);
      if (store.readv) store.readv = late(readMs, store.readv);
    }
    if (writeMs > 0) {
      if (store.write) store.write = late(writeMs, store.write);
      if (store.writev) store.writev = late(writeMs, store.writev);
      if (store.flush) store.flush = late(writeMs, store.flush);
      if (store.discard) store.discard = late(writeMs, store.discard);
      if (store.writeZeroes) store.writeZeroes = late(writeMs, store.writeZeroes);
    }
    return store;
  };
}
