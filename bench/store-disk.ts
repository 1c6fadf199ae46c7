// bench: the disk of `--store`: scratch images in a folder, removed afterwards, or an image that the user has.
import { constants, mkdtempSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore } from '../src/index.ts';
import { checkRoom, filler, type MeasuredDisk } from './measured-disk.ts';
import { checkFitsInMemory } from './page-cache.ts';

/** Where the measured images come from. */
export type StoreSpec =
  | { readonly kind: 'folder'; readonly path: string; readonly sizeBytes: number }
  /** An image or block device, which is overwritten first, or only read. */
  | { readonly kind: 'image'; readonly path: string; readonly overwrite: boolean };

export interface StoreNeeds {
  readonly images: number;
  /** Whether the page cache has to hold all of them. */
  readonly mustBeCached: boolean;
}

/** open(2): without O_CREAT, O_EXCL refuses a block device that is mounted or part of another one (EBUSY). */
const EXCLUSIVE = constants.O_RDWR | constants.O_EXCL;
/** The sockets are here, since their paths have to be short. */
const SOCKETS = '/dev/shm';

export class StoreDisk implements MeasuredDisk {
  readonly folder: string;
  readonly paths: readonly string[];
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What the user should know about the image, a line each. */
  readonly notes: string[] = [];
  readonly #made: DisposableStack;

  private constructor(spec: StoreSpec, images: number) {
    using made = new DisposableStack();
    const folderIn = (parent: string): string => {
      const folder = mkdtempSync(join(parent, `belfry-bench-${process.pid}-`));
      made.defer(() => rmSync(folder, { recursive: true, force: true }));
      return folder;
    };
    this.folder = folderIn(SOCKETS);
    this.readOnly = spec.kind === 'image' && !spec.overwrite;
    if (spec.kind === 'folder') {
      checkRoom(spec.path, spec.sizeBytes * images);
      const folder = folderIn(spec.path);
      this.paths = Array.from({ length: images }, (_, i) => join(folder, i === 0 ? 'disk.img' : `disk-${i}.img`));
      this.sizeBytes = spec.sizeBytes;
    } else {
      this.paths = [spec.path];
      this.sizeBytes = sizeOf(spec.path, this.readOnly);
      if (this.readOnly && hasHoles(spec.path))
        this.notes.push(`${spec.path} has holes, which are read without its disk: --overwrite fills it`);
    }
    this.#made = made.move();
  }

  /**
   * Makes or opens the images, and writes every block of what may be written. Throws SystemError (an image that is in
   * use, say), ImageFormatError, RangeError (no room) and the signal's reason; what was made is then removed.
   */
  static async create(spec: StoreSpec, { images, mustBeCached }: StoreNeeds, signal?: AbortSignal): Promise<StoreDisk> {
    const disk = new StoreDisk(spec, images);
    try {
      if (mustBeCached) checkFitsInMemory(disk.sizeBytes * images);
      if (!disk.readOnly)
        for (const path of disk.paths) await fill(path, disk.sizeBytes, spec.kind === 'folder', signal);
      disk.notes.push(autoEngine(disk.paths[0] as string, disk.readOnly));
      return disk;
    } catch (error) {
      disk[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#made.dispose();
  }
}

/** Opens the image as `belfry serve` does, so that one that is in use is refused before anything is written to it. */
function sizeOf(path: string, readOnly: boolean): number {
  const { store } = openStore(path, { readOnly, engine: 'sync', ...(!readOnly && { format: 'raw' }) });
  store.close?.();
  return store.sizeBytes;
}

function autoEngine(path: string, readOnly: boolean): string {
  const opened = openStore(path, { readOnly, ...(!readOnly && { format: 'raw' }) });
  const { engine } = opened.description;
  opened.store.close?.();
  return `belfry serve, left to choose (--engine auto), takes engine ${engine} here: ${opened.why}.`;
}

function hasHoles(path: string): boolean {
  const { size, blocks } = statSync(path);
  return blocks * 512 < size;
}

/** Asynchronous: Ctrl-C is noticed between two chunks. */
async function fill(path: string, sizeBytes: number, isNew: boolean, signal?: AbortSignal): Promise<void> {
  const chunk = filler();
  await using file = await open(path, isNew ? 'wx+' : EXCLUSIVE, 0o600);
  for (let at = 0; at < sizeBytes; ) {
    signal?.throwIfAborted();
    const length = Math.min(chunk.length, sizeBytes - at);
    at += (await file.write(chunk, 0, length, at)).bytesWritten;
  }
  // Allocated when it is measured, and not later.
  await file.sync();
}
