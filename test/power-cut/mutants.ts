// test/power-cut: disks that do not keep what they promise, which the harness has to catch.
import { BlockDevice, forward, type StoreFilter } from '../../src/index.ts';
import { importWithMistake } from '../../src/testing/mutant.ts';
import type { Served } from './record-workload.ts';

/** A flush reaches the disk when so many more writes have. */
const WRITES_LATE = 24;

/** Completes each flush at once, before the writes are durable: the disk flushes some time later. */
const lyingFlush: StoreFilter = (next) => {
  const store = forward(next);
  let writesLeft = 0;
  store.write = async (...request) => {
    await next.write?.(...request);
    if (writesLeft > 0 && --writesLeft === 0) await next.flush?.();
  };
  store.flush = () => {
    if (writesLeft === 0) writesLeft = WRITES_LATE;
  };
  return store;
};

/** A device that completes FLUSH without calling the store's. */
async function forgottenFlush(): Promise<Served> {
  const folder = new URL('../../src/devices/blk/', import.meta.url);
  const mistaken = await importWithMistake<{ BlockDevice: typeof BlockDevice }>(new URL('block-device.ts', folder), {
    module: new URL('block-requests.ts', folder),
    from: 'return whenDone(this.#store.flush?.(signal), blk.VIRTIO_BLK_S_OK);',
    to: 'return blk.VIRTIO_BLK_S_OK;',
  });
  return { device: (store) => new mistaken.BlockDevice(store) };
}

export const MUTANTS = ['lying-flush', 'forgotten-flush'] as const;
export type MutantName = (typeof MUTANTS)[number];

/** Returns what is served: `BlockDevice` itself where no mutant is named. */
export async function servedAs(mutant?: MutantName): Promise<Served> {
  if (mutant === 'lying-flush') return { filter: lyingFlush };
  return mutant === undefined ? { device: (store) => new BlockDevice(store) } : await forgottenFlush();
}
