// Stores: a filter that takes writing away.
import type { StoreFilter } from '../../devices/blk/block-store.ts';
import { forward } from './forward.ts';

/** Nothing can be written, so nothing needs a flush. */
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
