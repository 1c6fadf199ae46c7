// virtio: checks that an object is a VirtioDevice, before a driver uses it.
import type { VirtioDevice } from './device.ts';
import { DEVICE_FEATURE_BITS, QUEUE_SIZE_MAX } from './spec.ts';

const FUNCTIONS = [
  'process',
  'threadOf',
  'attach',
  'start',
  'queueStarted',
  'queueStopping',
  'reset',
  'close',
] as const satisfies (keyof VirtioDevice)[];

/** Whether `value` is meant as a device, rather than as the store of a disk. */
export function looksLikeDevice(value: object): boolean {
  return 'process' in value || 'queueSizes' in value;
}

/** Throws TypeError where `device` is no VirtioDevice: one line that says which member is wrong and what is wanted. */
export function checkDevice(device: unknown): asserts device is VirtioDevice {
  if (typeof device !== 'object' || device === null)
    throw new TypeError(`a VirtioDevice is an object ({ type, features, queueSizes, process }), and this is ${device}`);
  if (!looksLikeDevice(device) && 'read' in device)
    throw new TypeError('a VirtioDevice is wanted, and this is a store: wrap it, new BlockDevice(store)');
  const { type, features, queueSizes, config, maxInFlight } = device as Partial<VirtioDevice>;
  if (!isCount(type)) throw wrong('type', type, 'the number of a device type is wanted: VIRTIO_ID_BLOCK, …');
  if (typeof features !== 'bigint') throw wrong('features', features, 'a bigint is wanted: 0n for none');
  if ((features & ~DEVICE_FEATURE_BITS) !== 0n)
    throw wrong('features', features, 'bits 24 to 49 are the ring’s and the transport’s, which offer them themselves');
  checkQueueSizes(queueSizes);
  if (config !== undefined && !(config?.bytes instanceof Uint8Array))
    throw wrong('config.bytes', config?.bytes, 'a Uint8Array is wanted');
  if (maxInFlight !== undefined && !isCount(maxInFlight))
    throw wrong('maxInFlight', maxInFlight, 'a positive whole number is wanted');
  for (const name of FUNCTIONS) {
    const member = (device as Partial<VirtioDevice>)[name];
    if (typeof member !== 'function' && (member !== undefined || name === 'process'))
      throw wrong(name, member, 'a function is wanted');
  }
}

function checkQueueSizes(sizes: unknown): void {
  if (!Array.isArray(sizes)) throw wrong('queueSizes', sizes, 'an array is wanted: [256] for one queue');
  const isSize = (size: unknown): boolean =>
    isCount(size) && size <= QUEUE_SIZE_MAX && Number.isInteger(Math.log2(size));
  if (!sizes.every(isSize)) throw wrong('queueSizes', sizes, `powers of two up to ${QUEUE_SIZE_MAX} are wanted`);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function wrong(member: string, value: unknown, wanted: string): TypeError {
  return new TypeError(`the device's ${member} is ${shown(value)}; ${wanted}`);
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  return typeof value === 'string' ? JSON.stringify(value) : Array.isArray(value) ? `[${value}]` : String(value);
}

/** Returns what a message calls a value: `missing`, `null`, `a string`. */
export function kindOf(value: unknown): string {
  return value === undefined ? 'missing' : value === null ? 'null' : `a ${typeof value}`;
}
