// Cellar: whether something that should be a VirtioDevice is one; what a person wrote may be anything.
import type { VirtioDevice } from './device.ts';
import { QUEUE_SIZE_MAX } from './spec.ts';

/** Whether `value` was meant as a device, rather than as the store of a disk. */
export function looksLikeDevice(value: object): boolean {
  return 'process' in value || 'queueSizes' in value;
}

/** Throws TypeError, with one line that says what is missing, for what is no device. */
export function checkDevice(value: unknown): asserts value is VirtioDevice {
  const problem = whatIsWrong(value);
  if (problem !== undefined) throw new TypeError(problem);
}

function whatIsWrong(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return `a device is wanted; this is ${kindOf(value)}`;
  if (!looksLikeDevice(value) && 'read' in value)
    return 'a device is wanted; this is a store: wrap it, new BlockDevice(store)';
  const { type, features, queueSizes, process } = value as Partial<VirtioDevice>;
  if (typeof type !== 'number') return `the device's type is ${kindOf(type)}; the number of VIRTIO 1.3 §5 is wanted`;
  if (typeof features !== 'bigint') return `the device's features is ${kindOf(features)}; a bigint is wanted: 0n`;
  if (!Array.isArray(queueSizes) || queueSizes.length === 0 || !queueSizes.every(isQueueSize))
    return `the device's queueSizes is to be an array of powers of two up to ${QUEUE_SIZE_MAX}, one for each queue`;
  if (typeof process !== 'function')
    return `the device's process is ${kindOf(process)}; a function process(index, queue) is wanted`;
  return undefined;
}

function isQueueSize(size: unknown): boolean {
  return (
    Number.isInteger(size) &&
    (size as number) > 0 &&
    (size as number) <= QUEUE_SIZE_MAX &&
    Number.isInteger(Math.log2(size as number))
  );
}

/** As in `missing`, `null`, `a string`. */
export function kindOf(value: unknown): string {
  return value === undefined ? 'missing' : value === null ? 'null' : `a ${typeof value}`;
}
