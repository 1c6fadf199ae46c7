// Stores: what a person names as a disk, opened with the engine that suits it, on one thread or on several.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { AllocationMap } from './allocation-map.ts';
import { mappedFile } from './mapped-file.ts';
import { memoryFile } from './memory.ts';
import { parseSize } from './size.ts';
import { syncFile } from './sync-file.ts';

interface Engine {
  suits(file: ImageFile): boolean;
  /** What its stores on several threads have in common beside the file. */
  share?(file: ImageFile): SharedArrayBuffer;
  open(file: ImageFile, shared: SharedArrayBuffer | undefined): BlockStore;
}

/** The first that suits a file serves it. */
const engines = {
  'mapped-file': {
    suits: (file) => file.fileSystem().kind !== 'other',
    share: (file) => new AllocationMap(file).shared,
    open: (file, shared) => mappedFile(file, new AllocationMap(file, shared)),
  },
  'sync-file': { suits: () => true, open: syncFile },
} satisfies Record<string, Engine>;

/** A store as a plain value: post it to another thread of this process, and `reopenStore` it there. */
export interface StoreDescription {
  readonly engine: keyof typeof engines;
  readonly name: string;
  readonly fd: number;
  readonly readOnly: boolean;
  readonly shared: SharedArrayBuffer | undefined;
}

export interface OpenedStore {
  readonly store: BlockStore;
  /** Valid until the store is closed; a store opened from it may outlive that. */
  readonly description: StoreDescription;
}

/**
 * Opens `mem:SIZE`, a file or a block device. An image is locked against other writers until its last store is closed.
 * Throws RangeError (a size that is none) or SystemError, with one line that says what to do.
 */
export function openStore(spec: string, { readOnly = false }: { readOnly?: boolean } = {}): OpenedStore {
  const file = spec.startsWith('mem:')
    ? memoryFile(parseSize(spec.slice('mem:'.length)), readOnly)
    : ImageFile.open(spec, { readOnly });
  try {
    const engine = (Object.keys(engines) as (keyof typeof engines)[]).find((name) => engines[name].suits(file))!;
    const { share, open }: Engine = engines[engine];
    const shared = share?.(file);
    return {
      store: open(file, shared),
      description: { engine, name: file.name, fd: file.fd, readOnly: file.readOnly, shared },
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** Opens the same store again on this thread; each is closed by itself. Throws SystemError. */
export function reopenStore({ engine, name, fd, readOnly, shared }: StoreDescription): BlockStore {
  return engines[engine].open(ImageFile.duplicate(fd, name, readOnly), shared);
}
