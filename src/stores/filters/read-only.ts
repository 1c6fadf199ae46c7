// stores/filters: a filter that makes a disk read-only.
import type { StoreFilter } from '../../devices/blk/block-store.ts';
import { forward } from './forward.ts';

/** Removes every member that writes, and `flush`, which then has nothing to do. */
export function readOnly(): StoreFilter {
  return (next) => {
    const store = forward(next);
    delete store.write;
    delete store.writev;
    delete store.flush;
    delete store.discard;
    delete store.writeZeroes;
    return store;
  };
}
