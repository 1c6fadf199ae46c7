// stores: opens a disk by its name, with the engine that suits it, on one thread or on several.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { SystemError } from '../sys/libc.ts';
import { AllocationMap, type SharedAllocationMap } from './allocation-map.ts';
import { ImageFormatError, MAGIC_BYTES, recognizeFormat } from './image-format.ts';
import { mappedFile } from './mapped-file.ts';
import { memoryFile } from './memory.ts';
import { parseSize } from './size.ts';
import { missingAdvice, refuseScheme } from './spec-advice.ts';
import { syncFile } from './sync-file.ts';

const MEMORY = 'mem:';

interface Engine {
  suits(file: ImageFile): boolean;
  open(file: ImageFile, shared: SharedAllocationMap | undefined): EngineStore;
}

interface EngineStore {
  readonly store: BlockStore;
  /** Prepares the store for another one on another thread. Returns what that one needs beside the file. */
  readonly share?: () => SharedAllocationMap;
}

/** The first one that suits a file serves it. */
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
  /** The engine that serves it. */
  readonly engine: keyof typeof engines;
  /** The name it was opened by: `disk.img`, `mem:1G`. */
  readonly name: string;
  /** The open file; it belongs to the store that was opened first. */
  readonly fd: number;
  readonly readOnly: boolean;
  /**
   * What the stores of several threads share beside the file. `undefined`: nothing. The engine has no shared state, or
   * only the one store that is opened from this description may be used, whose requests then cost a little less.
   */
  readonly shared: SharedAllocationMap | undefined;
}

/** A store that `openStore` made: close it with `store.close`. */
export interface OpenedStore {
  /** For `new BlockDevice`, on this thread. */
  readonly store: BlockStore;
  /**
   * Valid until the store is closed; a store opened from it may be used longer. Reading this property prepares the
   * store for several threads, which costs a mapped file a few nanoseconds a request from then on.
   */
  readonly description: StoreDescription;
}

export interface OpenStoreOptions {
  /** Default false. */
  readonly readOnly?: boolean;
  /**
   * Serves the bytes of a file as they are, whatever they look like. Otherwise an image in another format is refused.
   */
  readonly format?: 'raw' | undefined;
}

/**
 * Opens `mem:SIZE`, a file or a block device. An image is locked against other writers until its last store is closed.
 * Throws RangeError (an invalid size, or a URL), ImageFormatError (code BELFRY_IMAGE_FORMAT) or SystemError, with
 * one line that says what to do.
 */
export function openStore(spec: string, { readOnly = false, format }: OpenStoreOptions = {}): OpenedStore {
  const file = spec.startsWith(MEMORY)
    ? memoryFile(memorySize(spec.slice(MEMORY.length)), readOnly)
    : openImage(spec, readOnly);
  try {
    if (!spec.startsWith(MEMORY)) checkImage(file, format);
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

function memorySize(text: string): number {
  if (text === '') throw new RangeError('a disk in memory has a size: mem:1G');
  return parseSize(text);
}

function openImage(spec: string, readOnly: boolean): ImageFile {
  refuseScheme(spec);
  try {
    return ImageFile.open(spec, { readOnly });
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'ENOENT') throw error;
    throw new SystemError(error.syscall, error.code, missingAdvice(spec));
  }
}

/** Checks the format before the size: the advice to round up the size would damage an image that is not raw. */
function checkImage(file: ImageFile, format: OpenStoreOptions['format']): void {
  const { head, tail } = file.ends(MAGIC_BYTES);
  const found = format === 'raw' ? undefined : recognizeFormat(head, tail);
  if (found !== undefined) throw new ImageFormatError(file.name, found);
  file.checkSize();
}

/**
 * Opens the same store again on this thread. Each store has to be closed. At most 256 at a time. Throws SystemError.
 */
export function reopenStore({ engine, name, fd, readOnly, shared }: StoreDescription): BlockStore {
  const file = ImageFile.duplicate(fd, name, readOnly);
  try {
    return (engines[engine] as Engine).open(file, shared).store;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}
