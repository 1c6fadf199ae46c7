// config: what the file of `belfry up` may say, as schemas; contrib/belfry.schema.json is made from them.
import { QUEUES_MAX } from '../../devices/blk/block-config.ts';
import { READ_ERROR_POLICIES, WRITE_ERROR_POLICIES } from '../../devices/blk/error-policy.ts';
import { MTU_MAX, MTU_MIN } from '../../devices/net/spec.ts';
import { CID_MAX, CID_MIN } from '../../devices/vsock/spec.ts';
import { ENGINE_NAMES } from '../../stores/open-store.ts';
import type { ObjectSchema } from '../control/schema.ts';

const text = { type: 'string', maxLength: 4096 } as const;
const flag = { type: 'boolean' } as const;
const limit = { ...text, description: 'Requests and bytes a second at most: iops=500,bps=10M,burst=2.' } as const;
const rate = { ...text, description: 'At most so much a second: bps=10M,burst=2; pps=1000 for frames.' } as const;

const common = {
  socket: { ...text, description: 'The vhost-user socket to make.' },
  'allow-file-memory': { ...flag, description: 'Guest memory may be a file of any file system.' },
} as const;

const threads = {
  poll: { ...text, description: 'Poll before sleeping: off, auto (default), or microseconds.' },
  cpus: { ...text, description: 'Processors to keep the threads on: 1 or 2,3.' },
} as const;

const kind = <Name extends string>(name: Name) => ({ enum: [name] }) as const;

/** By kind of device: the options are those of `belfry serve KIND`, with the same names. */
export const DEVICE_SCHEMAS = {
  blk: {
    type: 'object',
    properties: {
      kind: kind('blk'),
      store: { ...text, description: 'An image, a block device, mem:SIZE, or a module.' },
      ...common,
      ...threads,
      'read-only': flag,
      format: { enum: ['raw'] },
      engine: { enum: ['auto', ...ENGINE_NAMES] },
      direct: { ...flag, description: 'Bypass the page cache.' },
      shared: { ...flag, description: 'Let other daemons that share it have the image open.' },
      queues: { type: 'integer', minimum: 1, maximum: QUEUES_MAX },
      threads: { type: 'integer', minimum: 1, maximum: QUEUES_MAX },
      serial: { ...text, maxLength: 20 },
      'block-size': { type: 'integer', minimum: 512, maximum: 65_536 },
      'on-error': { enum: READ_ERROR_POLICIES },
      'on-read-error': { enum: READ_ERROR_POLICIES },
      'on-write-error': { enum: WRITE_ERROR_POLICIES },
      limit,
      'limit-read': limit,
      'limit-write': limit,
    },
    required: ['kind', 'store', 'socket'],
  },
  rng: {
    type: 'object',
    properties: { kind: kind('rng'), ...common, ...threads, limit: rate },
    required: ['kind', 'socket'],
  },
  net: {
    type: 'object',
    properties: {
      kind: kind('net'),
      port: { ...text, description: 'tap:NAME, packet:NAME, stream:PATH or listen:PATH.' },
      ...common,
      ...threads,
      mac: text,
      mtu: { type: 'integer', minimum: MTU_MIN, maximum: MTU_MAX },
      limit: rate,
      'limit-send': rate,
      'limit-receive': rate,
    },
    required: ['kind', 'port', 'socket'],
  },
  vsock: {
    type: 'object',
    properties: {
      kind: kind('vsock'),
      ...common,
      ...threads,
      cid: { type: 'integer', minimum: CID_MIN, maximum: CID_MAX },
      uds: { ...text, description: 'The UNIX socket of the host’s side.' },
    },
    required: ['kind', 'cid', 'uds', 'socket'],
  },
  module: {
    type: 'object',
    properties: { kind: kind('module'), module: { ...text, description: 'A device of your own.' }, ...common },
    required: ['kind', 'module', 'socket'],
  },
} as const satisfies Readonly<Record<string, ObjectSchema>>;

export type DeviceKind = keyof typeof DEVICE_SCHEMAS;
export const DEVICE_KINDS = Object.keys(DEVICE_SCHEMAS) as readonly DeviceKind[];

/** Names of devices, which `ctl` and the metrics have. */
export const NAME_PATTERN = '^[a-z0-9][a-z0-9._-]{0,63}$';
export const DEVICES_MAX = 256;

/** The file but for its devices. */
export const CONFIG_PROPERTIES = {
  $schema: { ...text, description: 'For editors.' },
  control: { ...text, description: 'The control socket to make, for belfry ctl.' },
  metrics: { ...text, description: 'Serve metrics for Prometheus at [ADDRESS:]PORT.' },
  log: { ...text, description: 'Append what would be printed to a file, with the time.' },
  json: { ...flag, description: 'Print events as JSON lines.' },
  quiet: { ...flag, description: 'Print only problems.' },
  'stop-timeout': { type: 'number', minimum: 0.001, maximum: 86_400, description: 'Seconds. Default 10.' },
} as const;

/** The whole as JSON Schema, for editors. */
export function configJsonSchema(): object {
  const devices = Object.values(DEVICE_SCHEMAS).map((schema) => ({ ...schema, additionalProperties: false }));
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'The file of belfry up',
    type: 'object',
    properties: {
      ...CONFIG_PROPERTIES,
      devices: {
        type: 'object',
        description: 'By name.',
        minProperties: 1,
        maxProperties: DEVICES_MAX,
        propertyNames: { pattern: NAME_PATTERN },
        additionalProperties: { oneOf: devices },
      },
    },
    required: ['devices'],
    additionalProperties: false,
  };
}
