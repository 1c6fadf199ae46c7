// daemon: loads a module of the user's, and finds out whether its default export is a device or a disk.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { checkStore, unknownMembers } from '../devices/blk/check-store.ts';
import { checkDevice, kindOf, looksLikeDevice } from '../virtio/check-device.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { Log } from '../virtio/log.ts';
import { shareRunningCopy } from './running-copy.ts';

/** The default export of a module, by kind. */
export type Loaded =
  | { readonly kind: 'device'; readonly device: VirtioDevice }
  | { readonly kind: 'store'; readonly store: BlockStore };

const WANTED =
  'its default export is to be a BlockStore ({ sizeBytes, read, … }), a VirtioDevice ({ type, queueSizes, process, … }), or a function that makes one';

/** Whether an argument names a module rather than an image. */
export function isModule(spec: string): boolean {
  return /\.[cm]?[jt]s$/.test(spec);
}

/**
 * Loads the default export, or what it returns if it is a function. Throws Error: one line with the module and the
 * problem.
 */
export async function loadModule(spec: string, log: Log): Promise<Loaded> {
  const exported = await importDefault(spec);
  if (typeof exported !== 'object' || exported === null)
    throw new Error(`${spec}: ${WANTED}; it is ${kindOf(exported)}`);
  try {
    if (looksLikeDevice(exported)) {
      checkDevice(exported);
      return { kind: 'device', device: exported };
    }
    checkStore(exported);
  } catch (error) {
    throw new Error(`${spec}: ${(error as Error).message}`);
  }
  const unknown = unknownMembers(exported);
  if (unknown.length > 0) log(`${spec}: the disk has ${unknown.join(', ')}, which nothing calls: is it misspelled?`);
  return { kind: 'store', store: exported };
}

/** As `loadModule`. Throws Error as well if the module exports a device. */
export async function loadStore(spec: string, log: Log): Promise<BlockStore> {
  const loaded = await loadModule(spec, log);
  if (loaded.kind === 'store') return loaded.store;
  throw new Error(`${spec}: a BlockStore is wanted here, and its default export is a device`);
}

async function importDefault(spec: string): Promise<unknown> {
  const path = resolve(spec);
  if (!existsSync(path)) throw new Error(`${spec}: no such file`);
  shareRunningCopy();
  try {
    const module = (await import(pathToFileURL(path).href)) as { default?: unknown };
    return typeof module.default === 'function' ? await module.default() : module.default;
  } catch (error) {
    throw new Error(`${spec}: the module failed: ${(error as Error)?.message ?? String(error)}${placeOf(error)}`, {
      cause: error,
    });
  }
}

/** The topmost place in the stack that has a file, as ` (file:line)`. */
function placeOf(error: unknown): string {
  const [, place] =
    /\((?:file:\/\/)?([^()]+:\d+):\d+\)|^\s*at (?:file:\/\/)?(\S+:\d+):\d+$/m.exec((error as Error)?.stack ?? '') ?? [];
  return place === undefined || place.startsWith('node:') ? '' : ` (${place})`;
}
