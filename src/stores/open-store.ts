// Stores: what a person names as a disk, opened with the engine that suits it, on one thread or on several.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { AllocationMap, type SharedAllocationMap } from './allocation-map.ts';
import { mappedFile } from './mapped-file.ts';
import { memoryFile } from './memory.ts';
import { parseSize } from './size.ts';
import { syncFile } from './sync-file.ts';

interface Engine {
  suits(file: ImageFile): boolean;
  open(file: ImageFile, shared: SharedAllocationMap | undefined): EngineStore;
}

interface EngineStore {
  readonly store: BlockStore;
  /** Makes the store ready to have another one beside it, on another thread; what that one needs beside the file. */
  readonly share?: () => SharedAllocationMap;
}

/** The first that suits a file serves it. */
const engines = {
  'mapped-file': { suits: (file) => file.fileSystem().kind !== 'other', open: openMapped },
  'sync-file': { suits: () => true, open: (file) => ({ store: syncFile(file) }) },
} satisfies Record<string, Engine>;

function openMapped(file: ImageFile, shared: SharedAllocationMap | undefined): EngineStore {
  const map = new AllocationMap(file, shared);
  try {
    return { store: mappedFile(file, map), share: () => map.share() };
  } catch (error) {
    map.close();
    throw error;
  }
}

/** A store as a plain value: post it to another thread of this process, and `reopenStore` it there. */
export interface StoreDescription {
  readonly engine: keyof typeof engines;
  readonly name: string;
  readonly fd: number;
  readonly readOnly: boolean;
  /**
   * What the stores of several threads have in common beside the file. `undefined`: nothing; the one store that is opened
   * from it must then be the only one that is used, and a request costs it a little less.
   */
  readonly shared: SharedAllocationMap | undefined;
}

export interface OpenedStore {
  readonly store: BlockStore;
  /**
   * Valid until the store is closed; a store opened from it may outlive that. Asking for it makes the store one of several,
   * which costs a mapped file a few nanoseconds a request from then on.
   */
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
    const { store, share } = (engines[engine] as Engine).open(file, undefined);
    return {
      store,
      get description() {
        return { engine, name: file.name, fd: file.fd, readOnly: file.readOnly, shared: share?.() };
      },
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/** Opens the same store again on this thread; each is closed by itself. At most 256 at a time. Throws SystemError. */
export function reopenStore({ engine, name, fd, readOnly, shared }: StoreDescription): BlockStore {
  const file = ImageFile.duplicate(fd, name, readOnly);
  try {
    return (engines[engine] as Engine).open(file, shared).store;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}
