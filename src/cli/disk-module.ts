// Upper floor: a disk somebody wrote: loads the module and checks that what it exports is a store.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BlockStore, MaybePromise } from '../devices/blk/block-store.ts';

const OPTIONAL = ['write', 'readv', 'writev', 'flush', 'discard', 'writeZeroes', 'refreshSize', 'close'] as const;

/** Whether a STORE argument names a module rather than an image. */
export function isDiskModule(spec: string): boolean {
  return /\.[cm]?[jt]s$/.test(spec);
}

/** Loads the default export: a BlockStore, or a function that makes one. Throws Error, which names the module. */
export async function loadDiskModule(spec: string): Promise<BlockStore> {
  const path = resolve(spec);
  if (!existsSync(path)) throw new Error(`${spec}: no such file`);
  let exported: unknown;
  try {
    const module = (await import(pathToFileURL(path).href)) as {
      default?: BlockStore | (() => MaybePromise<BlockStore>);
    };
    exported = typeof module.default === 'function' ? await module.default() : module.default;
  } catch (error) {
    throw new Error(`${spec}: the module failed: ${(error as Error)?.message ?? String(error)}`, { cause: error });
  }
  return checkedStore(spec, exported);
}

function checkedStore(spec: string, exported: unknown): BlockStore {
  const wants = 'its default export is to be a BlockStore ({ sizeBytes, read, … }) or a function that makes one';
  if (typeof exported !== 'object' || exported === null)
    throw new Error(
      `${spec}: ${wants}; it is ${exported === undefined ? 'missing' : exported === null ? 'null' : typeof exported}`,
    );
  const store = exported as Partial<BlockStore>;
  const { sizeBytes } = store;
  if (typeof store.read !== 'function') throw new Error(`${spec}: the disk has no read(offset, into)`);
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % 512 !== 0) {
    throw new Error(`${spec}: sizeBytes is ${String(sizeBytes)}; a disk's size is a positive multiple of 512`);
  }
  const wrong = OPTIONAL.find((member) => store[member] !== undefined && typeof store[member] !== 'function');
  if (wrong !== undefined) throw new Error(`${spec}: ${wrong} is a ${typeof store[wrong]}, a function is wanted`);
  return store as BlockStore;
}
