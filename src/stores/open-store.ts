// stores: opens a disk by its name, with the engine that suits it, on one thread or on several.
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { SystemError } from '../sys/libc.ts';
import { alignedMemory } from './aligned-memory.ts';
import { AllocationMap, type SharedAllocationMap } from './allocation-map.ts';
import { type ImageFormat, ImageFormatError, MAGIC_BYTES, recognizeFormat } from './image-format.ts';
import { mappedFile } from './mapped-file.ts';
import { memoryFile } from './memory.ts';
import { threadsFile, uringFile, uringProblem } from './ring-file.ts';
import { parseSize } from './size.ts';
import { missingAdvice, refuseScheme } from './spec-advice.ts';
import { type FlushState, newFlushState } from './sync-file.ts';

const MEMORY = 'mem:';

interface Engine {
  /** Why it cannot serve a file; undefined if it can. */
  problem(file: ImageFile): string | undefined;
  /** Why `auto` chooses it for a file that it can serve. */
  readonly why: string;
  open(file: ImageFile, shared: SharedAllocationMap | undefined, flushState: FlushState | undefined): EngineStore;
}

interface EngineStore {
  readonly store: BlockStore;
  /** Prepares the store for another one on another thread. Returns what that one needs beside the file. */
  readonly share?: () => SharedAllocationMap;
}

/** The first one that can serve a file serves it. */
const engines = {
  mapped: {
    problem: (file) =>
      file.fileSystem().kind === 'other' ? 'the image is not in memory (tmpfs, hugetlbfs)' : undefined,
    why: 'in memory: a request is a copy',
    open: openMapped,
  },
  uring: {
    problem: (file) => onlyMapped(file) ?? uringProblem(),
    why: 'on a disk: requests overlap',
    open: (file, _, flushState) => ({ store: uringFile(file, flushState) }),
  },
  sync: {
    problem: onlyMapped,
    why: 'io_uring cannot be used here: a few threads with a system call each',
    open: (file, _, flushState) => ({ store: threadsFile(file, flushState) }),
  },
} satisfies Record<string, Engine>;

/** The engines by name, for `OpenStoreOptions`. */
export type EngineName = keyof typeof engines;

/** The names of the engines, in the order in which `auto` tries them. */
export const ENGINE_NAMES = Object.keys(engines) as readonly EngineName[];

function onlyMapped(file: ImageFile): string | undefined {
  return file.fileSystem().kind === 'hugetlbfs' ? 'a file on hugetlbfs can only be mapped' : undefined;
}

/** Throws RangeError where the engine that is wanted cannot serve the file. */
function choose(file: ImageFile, wanted: EngineName | 'auto'): { engine: EngineName; why: string } {
  const tried: string[] = [];
  for (const engine of ENGINE_NAMES) {
    if (wanted !== 'auto' && wanted !== engine) continue;
    const { problem, why }: Engine = engines[engine];
    const found = problem(file);
    if (found === undefined) return { engine, why: wanted === engine ? 'as asked' : why };
    tried.push(`engine ${engine}: ${found}`);
  }
  throw new RangeError(tried.join('; '));
}

/** Opens the engine's store. With direct I/O the kernel takes aligned memory only. */
function opened(
  engine: EngineName,
  file: ImageFile,
  shared: SharedAllocationMap | undefined,
  flushState: FlushState | undefined,
): EngineStore {
  const store = (engines[engine] as Engine).open(file, shared, flushState);
  return file.direct === undefined ? store : { ...store, store: alignedMemory(store.store, file.direct.memory) };
}

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
  readonly engine: EngineName;
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
  /** Whether a flush failed on one of the threads: then it fails on all. */
  readonly flushState?: FlushState | undefined;
}

/** A store that `openStore` made: close it with `store.close`. */
export interface OpenedStore {
  /** For `new BlockDevice`, on this thread. */
  readonly store: BlockStore;
  /** Why this engine serves it, as a phrase for the log: `on a disk: requests overlap`. */
  readonly why: string;
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
  /**
   * `mapped`: the image is in memory and is mapped. `uring`: io_uring(7), requests overlap. `sync`: a system call a
   * request, on a few threads. Default `auto`: the first of these that can serve it.
   */
  readonly engine?: EngineName | 'auto' | undefined;
  /**
   * Bypasses the page cache (O_DIRECT): a request goes to the disk itself. The disk's blocks are then those that the file
   * system asks for. Default false.
   */
  readonly direct?: boolean | undefined;
  /**
   * Another daemon may have the image open, if it shares it too: a guest that is migrated has one at each end. Default
   * false: an image has one writer.
   */
  readonly shared?: boolean | undefined;
}

/**
 * Opens `mem:SIZE`, a file or a block device. An image is locked against other writers until its last store is closed.
 * Throws RangeError (an invalid size, a URL, an engine that
 * cannot serve it), ImageFormatError (code BELFRY_IMAGE_FORMAT) or SystemError, with
 * one line that says what to do.
 */
export function openStore(spec: string, options: OpenStoreOptions = {}): OpenedStore {
  const { readOnly = false, format, engine: wanted = 'auto', direct = false, shared = false } = options;
  const file = spec.startsWith(MEMORY)
    ? memoryFile(memorySize(spec.slice(MEMORY.length)), readOnly)
    : openImage(spec, readOnly, shared);
  try {
    if (!spec.startsWith(MEMORY)) checkImage(file, format);
    if (direct) file.useDirectIo();
    const { engine, why } = choose(file, wanted);
    const flushState = newFlushState();
    const { store, share } = opened(engine, file, undefined, flushState);
    return {
      store,
      why: direct ? `${why}, and none is cached` : why,
      get description() {
        return { engine, name: file.name, fd: file.fd, readOnly: file.readOnly, shared: share?.(), flushState };
      },
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/**
 * Returns the engine that `openStore` would choose for an image now, which another process may be using; undefined if it
 * would open none. The image is not locked and not read.
 */
export function engineFor(spec: string, wanted: EngineName | 'auto' = 'auto'): EngineName | undefined {
  try {
    using file = ImageFile.open(spec, { readOnly: true, isLocked: false });
    return choose(file, wanted).engine;
  } catch {
    return undefined;
  }
}

function memorySize(text: string): number {
  if (text === '') throw new RangeError('a disk in memory has a size: mem:1G');
  return parseSize(text);
}

function openImage(spec: string, readOnly: boolean, isShared: boolean): ImageFile {
  refuseScheme(spec);
  try {
    return ImageFile.open(spec, { readOnly, isShared });
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'ENOENT') throw error;
    throw new SystemError(error.syscall, error.code, missingAdvice(spec));
  }
}

/** Checks the format before the size: the advice to round up the size would damage an image that is not raw. */
function checkImage(file: ImageFile, format: OpenStoreOptions['format']): void {
  const found = format === 'raw' ? undefined : formatOf(file);
  if (found !== undefined) throw new ImageFormatError(file.name, found);
  file.checkSize();
}

function formatOf(file: ImageFile): ImageFormat | undefined {
  try {
    const { head, tail } = file.ends(MAGIC_BYTES);
    return recognizeFormat(head, tail);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const what = `${file.name}: its first or last ${MAGIC_BYTES} bytes, which show its format, cannot be read`;
    throw new SystemError(error.syscall, error.code, `${what}: --format raw serves the rest`);
  }
}

/**
 * Opens the same store again on this thread. Each store has to be closed. At most 256 at a time. Throws SystemError.
 */
export function reopenStore({ engine, name, fd, readOnly, shared, flushState }: StoreDescription): BlockStore {
  const file = ImageFile.duplicate(fd, name, readOnly);
  try {
    return opened(engine, file, shared, flushState).store;
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}
