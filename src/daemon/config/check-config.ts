// config: checks the file of `belfry up`: every problem with its line.
import { resolve } from 'node:path';
import { type Problem, problemsOf } from '../control/schema.ts';
import {
  CONFIG_PROPERTIES,
  DEVICE_KINDS,
  DEVICE_SCHEMAS,
  DEVICES_MAX,
  type DeviceKind,
  NAME_PATTERN,
} from './config-schema.ts';
import { ConfigTextError, parseConfigText } from './config-text.ts';

/** A device of the file. `options` has what its schema allows. */
export interface DeviceConfig {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly socket: string;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

export interface DaemonConfig {
  readonly options: Readonly<Record<string, string | number | boolean>>;
  readonly devices: readonly DeviceConfig[];
  /** Returns a problem as a line for people: `belfry.jsonc:7: devices.web.size: …`. */
  line(problem: Problem): string;
}

/** The file is wrong: a line for each problem. */
export class ConfigError extends Error {
  readonly code = 'BELFRY_CONFIG';
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(lines.length === 1 ? (lines[0] ?? '') : `${lines[0]} (and ${lines.length - 1} more)`);
    this.name = 'ConfigError';
    this.lines = lines;
  }
}

type Members = Readonly<Record<string, unknown>>;

/** Reads a file's text. Throws ConfigError. */
export function checkConfig(file: string, text: string): DaemonConfig {
  const parsed = parsedText(file, text);
  const line = ({ path, message }: Problem): string =>
    `${file}:${parsed.lineOf(path)}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`;
  const { value } = parsed;
  const whole = { type: 'object', properties: CONFIG_PROPERTIES, required: ['devices'] } as const;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ConfigError([line({ path: [], message: 'the file is an object: { "devices": { … } }' })]);
  const { devices, ...options } = value as Members;
  const isThere = Object.hasOwn(value, 'devices');
  const problems = problemsOf({ ...whole, required: [] }, options);
  if (!isThere) problems.push({ path: [], message: '"devices" is missing' });
  else problems.push(...problemsOfDevices(devices, options));
  if (problems.length > 0) throw new ConfigError(problems.map(line));
  const all = Object.entries(devices as Record<string, Members>).map(([name, device]) => deviceOf(name, device));
  return { options: options as DaemonConfig['options'], devices: all, line };
}

function parsedText(file: string, text: string): ReturnType<typeof parseConfigText> {
  try {
    return parseConfigText(text);
  } catch (error) {
    if (error instanceof ConfigTextError) throw new ConfigError([`${file}:${error.line}: ${error.message}`]);
    throw error;
  }
}

function problemsOfDevices(devices: unknown, { control, log }: Members): Problem[] {
  const path = ['devices'];
  if (typeof devices !== 'object' || devices === null || Array.isArray(devices))
    return [{ path, message: 'it is an object: a device by its name' }];
  const entries = Object.entries(devices as Members);
  if (entries.length === 0) return [{ path, message: 'there is no device' }];
  if (entries.length > DEVICES_MAX)
    return [{ path, message: `${entries.length} devices; there are at most ${DEVICES_MAX}` }];
  return [
    ...entries.flatMap(([name, device]) => problemsOfDevice(name, device)),
    ...sharedPaths(entries, control, log),
  ];
}

function problemsOfDevice(name: string, device: unknown): Problem[] {
  const path = ['devices', name];
  if (!new RegExp(NAME_PATTERN, 'u').test(name))
    return [{ path, message: 'a name has small letters, digits, dots, hyphens and underscores, and at most 64' }];
  const { kind } = (device ?? {}) as { readonly kind?: unknown };
  const known = DEVICE_KINDS.find((one) => one === kind);
  if (typeof kind !== 'string') return [{ path, message: `"kind" is missing: ${DEVICE_KINDS.join(', ')}` }];
  if (known === undefined) return [{ path: [...path, 'kind'], message: `it is one of: ${DEVICE_KINDS.join(', ')}` }];
  return problemsOf(DEVICE_SCHEMAS[known], device, path);
}

/** Two devices cannot have one socket, and the control socket is another one. */
function sharedPaths(entries: readonly [string, unknown][], control: unknown, log: unknown): Problem[] {
  const owners = new Map<string, string>();
  if (typeof control === 'string') owners.set(resolve(control), 'control');
  if (typeof log === 'string') owners.set(resolve(log), 'log');
  return entries.flatMap(([name, device]) => {
    const { socket } = (device ?? {}) as { readonly socket?: unknown };
    if (typeof socket !== 'string') return [];
    const owner = owners.get(resolve(socket));
    owners.set(resolve(socket), `devices.${name}`);
    if (owner === undefined) return [];
    return [{ path: ['devices', name, 'socket'], message: `${socket} is that of ${owner} already` }];
  });
}

function deviceOf(name: string, device: Members): DeviceConfig {
  const { kind, socket, ...options } = device as DeviceConfig['options'];
  return { name, kind: kind as DeviceKind, socket: socket as string, options };
}
