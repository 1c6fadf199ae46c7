// virtio-blk: checks that an object is a BlockStore, before a driver uses it.
import type { BlockStore } from './block-store.ts';
import { SECTOR_BYTES } from './spec.ts';

const FUNCTIONS = [
  'attach',
  'read',
  'write',
  'readv',
  'writev',
  'prefetch',
  'flush',
  'discard',
  'writeZeroes',
  'refreshSize',
  'close',
] as const;
const NUMBERS = ['alignment', 'physicalBlockBytes', 'maxInFlight'] as const;
const KNOWN: readonly string[] = [...FUNCTIONS, ...NUMBERS, 'sizeBytes', 'name'];

/** Throws TypeError where `store` is no BlockStore: one line that says which member is wrong and what is wanted. */
export function checkStore(store: unknown): asserts store is BlockStore {
  if (typeof store !== 'object' || store === null)
    throw new TypeError(`a BlockStore is an object ({ sizeBytes, read, … }), and this is ${kindOf(store)}`);
  if (typeof (store as PromiseLike<unknown>).then === 'function')
    throw new TypeError('a BlockStore is an object, and this is a promise of one: await it');
  const members = store as Record<string, unknown>;
  if (typeof members.read !== 'function') throw new TypeError('the disk has no read(offset, into)');
  const wrong = FUNCTIONS.find((name) => members[name] !== undefined && typeof members[name] !== 'function');
  if (wrong !== undefined) throw new TypeError(`${wrong} is ${kindOf(members[wrong])}; a function is wanted`);
  checkSize('sizeBytes', members.sizeBytes, SECTOR_BYTES);
  for (const name of NUMBERS) if (members[name] !== undefined) checkNumber(name, members[name]);
  const alignment = (members.alignment as number | undefined) ?? SECTOR_BYTES;
  checkSize('sizeBytes', members.sizeBytes, alignment);
}

function checkSize(name: string, value: unknown, unit: number): void {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value % unit === 0) return;
  throw new TypeError(`${name} is ${shown(value)}; a disk's size is a number, a positive multiple of ${unit}`);
}

function checkNumber(name: (typeof NUMBERS)[number], value: unknown): void {
  const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
  if (name === 'maxInFlight' ? isCount : isCount && value >= SECTOR_BYTES && Number.isInteger(Math.log2(value))) return;
  const wanted = name === 'maxInFlight' ? 'a positive whole number' : 'a power of two from 512';
  throw new TypeError(`${name} is ${shown(value)}; ${wanted} is wanted`);
}

/**
 * The functions of an object literal that no BlockStore has, for a warning: `wirte` would make a read-only disk
 * silently.
 */
export function unknownMembers(store: BlockStore): string[] {
  if (Object.getPrototypeOf(store) !== Object.prototype) return [];
  return Object.entries(store).flatMap(([name, value]) =>
    typeof value === 'function' && !KNOWN.includes(name) ? [name] : [],
  );
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : typeof value === 'bigint' ? `${value}n` : String(value);
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  return `a ${typeof value}`;
}
