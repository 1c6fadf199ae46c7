// daemon: checks the options of `serve` before anything is opened.
import { QUEUES_MAX } from '../devices/blk/block-config.ts';
import { Limits } from '../stores/filters/limits.ts';
import { ENGINE_NAMES, type EngineName } from '../stores/open-store.ts';
import { POLL_MAX_US } from './poll-mode.ts';

/** The check of each option, and how the error describes it. */
const wanted: { readonly [option: string]: readonly [is: (value: unknown) => boolean, what: string] } = {
  vhostUser: [(value) => isPath(value) || isWhole(value, 0), 'the path of a socket to listen on, or a descriptor'],
  once: [isBoolean, 'true or false'],
  log: [(value) => typeof value === 'function', 'a function that takes a line'],
  signal: [(value) => value instanceof AbortSignal, 'an AbortSignal'],
  allowFileMemory: [isBoolean, 'true or false'],
  threads: [(value) => isWhole(value, 1) && value <= QUEUES_MAX, `a whole number from 1 to ${QUEUES_MAX}`],
  poll: [isPoll, `off, auto, or microseconds up to ${POLL_MAX_US}`],
  cpus: [(value) => Array.isArray(value) && value.every((cpu) => isWhole(cpu, 0)), 'an array of processor numbers'],
  readOnly: [isBoolean, 'true or false'],
  limits: [(value) => value instanceof Limits, 'an object of class Limits'],
  direct: [isBoolean, 'true or false'],
  engine: [isEngine, `auto or one of ${ENGINE_NAMES.join(', ')}`],
};

/** Throws TypeError for an option that is missing, unknown or invalid. */
export function checkServeOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError("serve: the second argument says where to listen: { vhostUser: '/tmp/disk.sock' }");
  for (const [name, value] of Object.entries({ vhostUser: undefined, ...options })) {
    const rule = Object.hasOwn(wanted, name) ? wanted[name] : undefined;
    if (rule === undefined)
      throw new TypeError(`serve: there is no option ${name}: ${Object.keys(wanted).join(', ')} are known`);
    const [is, what] = rule;
    if ((value !== undefined || name === 'vhostUser') && !is(value))
      throw new TypeError(`serve: ${name} is ${shown(value)}; ${what} is wanted`);
  }
}

function isPath(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isWhole(value: unknown, least: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= least;
}

function isEngine(value: unknown): boolean {
  return value === 'auto' || ENGINE_NAMES.includes(value as EngineName);
}

function isPoll(value: unknown): boolean {
  return value === 'off' || value === 'auto' || (isWhole(value, 0) && value <= POLL_MAX_US);
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  return typeof value === 'string' ? JSON.stringify(value) : Array.isArray(value) ? `[${value}]` : String(value);
}
