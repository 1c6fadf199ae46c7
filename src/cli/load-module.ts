// Upper floor: a device or a disk somebody wrote: loads the module and finds out which of both its default export is.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { checkStore, unknownMembers } from '../devices/blk/check-store.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { shareRunningCopy } from './running-copy.ts';

/** What a module's default export is. */
export type Loaded =
  | { readonly kind: 'device'; readonly device: VirtioDevice }
  | { readonly kind: 'store'; readonly store: BlockStore };

const WANTED =
  'its default export is to be a BlockStore ({ sizeBytes, read, … }), a VirtioDevice ({ type, queueSizes, process, … }), or a function that makes one';

/** Whether an argument names a module rather than an image. */
export function isModule(spec: string): boolean {
  return /\.[cm]?[jt]s$/.test(spec);
}

/** Loads the default export, or what it makes if it is a function. Throws Error, one line that names the module and what is wrong. */
export async function loadModule(spec: string, log: (line: string) => void): Promise<Loaded> {
  const exported = await importDefault(spec);
  if (typeof exported !== 'object' || exported === null)
    throw new Error(`${spec}: ${WANTED}; it is ${exported === undefined ? 'missing' : kindOf(exported)}`);
  if (isDevice(exported)) return { kind: 'device', device: exported };
  if ('process' in exported || 'queueSizes' in exported) throw new Error(`${spec}: ${whatDeviceLacks(exported)}`);
  try {
    checkStore(exported);
  } catch (error) {
    throw new Error(`${spec}: ${(error as Error).message}`);
  }
  const unknown = unknownMembers(exported);
  if (unknown.length > 0) log(`${spec}: the disk has ${unknown.join(', ')}, which nothing calls: a slip of the pen?`);
  return { kind: 'store', store: exported };
}

/** As `loadModule`, where a disk is wanted. */
export async function loadStore(spec: string, log: (line: string) => void): Promise<BlockStore> {
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

/** The first line of the module's own in a stack. */
function placeOf(error: unknown): string {
  const [, place] =
    /\((?:file:\/\/)?([^()]+:\d+):\d+\)|^\s*at (?:file:\/\/)?(\S+:\d+):\d+$/m.exec((error as Error)?.stack ?? '') ?? [];
  return place === undefined || place.startsWith('node:') ? '' : ` (${place})`;
}

function isDevice(exported: object): exported is VirtioDevice {
  const { type, queueSizes, process } = exported as Partial<VirtioDevice>;
  return typeof type === 'number' && Array.isArray(queueSizes) && typeof process === 'function';
}

function whatDeviceLacks(exported: object): string {
  const { type, queueSizes, process } = exported as Partial<VirtioDevice>;
  if (typeof type !== 'number') return `the device's type is ${kindOf(type)}; the number of VIRTIO 1.3 §5 is wanted`;
  if (!Array.isArray(queueSizes))
    return `the device's queueSizes is ${kindOf(queueSizes)}; an array of sizes is wanted`;
  return `the device's process is ${kindOf(process)}; a function process(index, queue) is wanted`;
}

function kindOf(value: unknown): string {
  return value === undefined ? 'missing' : value === null ? 'null' : `a ${typeof value}`;
}
