// test/power-cut: disks that do not keep what they promise, which the harness has to catch.
import { type BlockDevice, forward, type MaybePromise, type StoreFilter } from '../../src/index.ts';
import { importWithMistake } from '../../src/testing/mutant.ts';
import type { Served } from './record-workload.ts';

/** A flush reaches the disk when so many more writes have. */
const WRITES_LATE = 24;

/** Completes each flush at once, before the writes are durable: the disk flushes some time later. */
const lyingFlush: StoreFilter = (next) => {
  const store = forward(next);
  let writesLeft = 0;
  const written = async (answer: MaybePromise<void> | undefined): Promise<void> => {
    await answer;
    if (writesLeft > 0 && --writesLeft === 0) await next.flush?.();
  };
  store.write = (...request) => written(next.write?.(...request));
  store.writev = (...request) => written(next.writev?.(...request));
  store.flush = () => {
    if (writesLeft === 0) writesLeft = WRITES_LATE;
  };
  return store;
};

/** A device with a mistake in how it serves requests. */
async function mistakenDevice(from: string, to: string): Promise<Served> {
  const folder = new URL('../../src/devices/blk/', import.meta.url);
  const mistake = { module: new URL('block-requests.ts', folder), from, to };
  const mistaken = await importWithMistake<{ BlockDevice: typeof BlockDevice }>(
    new URL('block-device.ts', folder),
    mistake,
  );
  return { device: (store) => new mistaken.BlockDevice(store) };
}

const SERVED = {
  'lying-flush': async (): Promise<Served> => ({ filter: lyingFlush }),
  /** A device that completes FLUSH without calling the store's. */
  'forgotten-flush': () => mistakenDevice('return this.#flush(signal);', 'return blk.VIRTIO_BLK_S_OK;'),
  /** A device that does not flush after a write where the guest chose writethrough. */
  'forgotten-writethrough': () =>
    mistakenDevice('if (!this.writethrough || this.#store.flush === undefined) return status;', 'return status;'),
} as const;

export type MutantName = keyof typeof SERVED;
export const MUTANTS = Object.keys(SERVED) as readonly MutantName[];

/** Returns what is served: `BlockDevice` itself where no mutant is named. */
export async function servedAs(mutant?: MutantName): Promise<Served> {
  return mutant === undefined ? {} : await SERVED[mutant]();
}
