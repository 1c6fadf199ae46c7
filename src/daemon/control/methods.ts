// control: every method of the control socket, with the schemas of what it takes and returns. Types, checks and docs/control.md
// are made from this table.
import { EVENTS } from '../../virtio/log.ts';
import type { ValueOf } from './schema.ts';

/** It is raised when a method or a member changes its meaning or goes away, and not when one is added. */
export const PROTOCOL_VERSION = 1;

export const LEVELS = ['info', 'warning', 'error'] as const;
const EVENT_NAMES = Object.keys(EVENTS) as readonly (keyof typeof EVENTS)[];

const nothing = { type: 'object', properties: {}, required: [] } as const;
const count = { type: 'integer', minimum: 0 } as const;
const ms = { type: 'number', minimum: 0 } as const;
const name = { type: 'string', maxLength: 128 } as const;
const device = { ...name, description: 'The name of a device. It may be left out where there is one device.' } as const;
const level = { enum: LEVELS } as const;
const ofDevice = { type: 'object', properties: { device }, required: [] } as const;

const rate = {
  iops: { type: 'integer', minimum: 0, maximum: 10_000_000, description: 'Requests a second; 0: no limit.' },
  bps: { type: 'integer', minimum: 0, maximum: 2 ** 40, description: 'Bytes a second; 0: no limit.' },
  burst: { type: 'number', minimum: 0.01, maximum: 3600, description: 'Seconds’ worth that is saved up. Default 1.' },
} as const;
const scope = { enum: ['all', 'reads', 'writes'] } as const;
const limit = { type: 'object', properties: { scope, ...rate }, required: ['scope'] } as const;

const listed = {
  type: 'object',
  properties: {
    device: name,
    kind: { enum: ['blk', 'rng', 'console', 'net', 'vsock', 'module'] },
    about: { type: 'string', description: 'What is behind it: the name of an image, of a port.' },
    socket: { type: 'string', description: 'Absent: an inherited socket.' },
    sizeBytes: { ...count, description: 'Disks only.' },
    readOnly: { type: 'boolean', description: 'Disks only.' },
    queues: count,
    threads: count,
    connected: { type: 'boolean', description: 'Whether a front end is connected.' },
    paused: { type: 'boolean' },
    upMs: { ...ms, description: 'Since it is served.' },
  },
  required: ['device', 'kind', 'about', 'queues', 'threads', 'connected', 'paused', 'upMs'],
} as const;

const totals = {
  type: 'object',
  properties: {
    device: name,
    requests: count,
    batches: count,
    kicks: count,
    calls: count,
    inFlight: { ...count, description: 'Requests that were taken and not finished.' },
    bytesRead: count,
    bytesWritten: count,
    droppedFrames: { ...count, description: 'Network cards only.' },
    pollHits: { ...count, description: 'Polls before a sleep that found work.' },
    pollMisses: { ...count, description: 'Polls that ended in a sleep.' },
    requestsByKind: {
      type: 'array',
      description: 'Disks only.',
      items: {
        type: 'object',
        properties: { kind: { type: 'string' }, outcome: { enum: ['ok', 'error', 'unsupported'] }, count },
        required: ['kind', 'outcome', 'count'],
      },
    },
    latency: {
      type: 'object',
      description: 'Batches where the store answers at once, requests where it answers later.',
      properties: {
        boundsNs: { type: 'array', items: { type: 'number' }, description: 'Upper bounds of the buckets.' },
        buckets: { type: 'array', items: count, description: 'One for each bound, and one for what is longer.' },
        sumNs: ms,
      },
      required: ['boundsNs', 'buckets', 'sumNs'],
    },
  },
  required: ['device', 'requests', 'batches', 'kicks', 'calls', 'inFlight', 'bytesRead', 'bytesWritten', 'latency'],
} as const;

const queue = {
  type: 'object',
  properties: {
    queue: { ...count, description: 'Its index.' },
    runs: { enum: ['running', 'broken', 'stopping'] },
    words: {
      type: 'object',
      description: 'The shared words of the ring, by their name in VIRTIO.',
      properties: {},
      required: [],
      additionalProperties: { type: 'number' },
    },
    popped: { ...count, description: 'The available index up to which requests were popped.' },
    givenBack: { ...count, description: 'The used index up to which requests were returned.' },
    inFlight: count,
    waiting: { ...count, description: 'Requests available and not popped.' },
    polled: { type: 'boolean' },
    requests: count,
    kicks: count,
    calls: count,
    lastKickAgoMs: { ...ms, description: 'Absent: never.' },
    lastCallAgoMs: { ...ms, description: 'Absent: never.' },
    oldest: {
      type: 'array',
      description:
        'The requests in flight that are the oldest: the first descriptor, and the time since it was popped.',
      items: { type: 'object', properties: { head: count, ageMs: ms }, required: ['head', 'ageMs'] },
    },
  },
  required: ['queue', 'runs', 'words', 'popped', 'givenBack', 'inFlight', 'waiting', 'polled', 'requests'],
} as const;

/** The methods. `summary` is one sentence for people. */
export const METHODS = {
  version: {
    summary: 'Which Belfry this is, and which version of this protocol it speaks.',
    params: nothing,
    result: {
      type: 'object',
      properties: { belfry: name, protocol: count, pid: count },
      required: ['belfry', 'protocol', 'pid'],
    },
  },
  list: {
    summary: 'The devices that are served.',
    params: nothing,
    result: {
      type: 'object',
      properties: { devices: { type: 'array', items: listed } },
      required: ['devices'],
    },
  },
  stats: {
    summary: 'What each device has done since it is served. A difference of two answers is a rate.',
    params: ofDevice,
    result: {
      type: 'object',
      properties: {
        nowMs: { ...ms, description: 'The clock of this answer; it starts anywhere.' },
        devices: { type: 'array', items: totals },
      },
      required: ['nowMs', 'devices'],
    },
  },
  queues: {
    summary:
      'The state of every queue that runs: the words of its ring, its indices, what is in flight and since when.',
    params: ofDevice,
    result: {
      type: 'object',
      properties: { queues: { type: 'array', items: queue } },
      required: ['queues'],
    },
  },
  resize: {
    summary: 'Makes an image larger and tells the guest; without a size, reads the size of the store again.',
    params: {
      type: 'object',
      properties: { device, sizeBytes: { type: 'integer', minimum: 512, maximum: 2 ** 52 } },
      required: [],
    },
    result: { type: 'object', properties: { sizeBytes: count }, required: ['sizeBytes'] },
  },
  pause: {
    summary: 'Takes no more requests of a disk from its rings. Those in flight are finished; the guest waits.',
    params: ofDevice,
    result: nothing,
  },
  resume: { summary: 'Ends a pause.', params: ofDevice, result: nothing },
  limits: {
    summary: 'Sets a limit of a disk, and returns all of them. Without `iops` and `bps` it only returns them.',
    params: { type: 'object', properties: { device, scope, ...rate }, required: [] },
    result: {
      type: 'object',
      properties: { limits: { type: 'array', items: limit } },
      required: ['limits'],
    },
  },
  retry: {
    summary: 'Tries the requests again that are held after an error of the store, as SIGCONT does.',
    params: ofDevice,
    result: nothing,
  },
  'log-level': {
    summary: 'Sets the level from which on lines are logged, and returns it. Without `level` it only returns it.',
    params: { type: 'object', properties: { level }, required: [] },
    result: { type: 'object', properties: { level }, required: ['level'] },
  },
  upgrade: {
    summary: 'Has a new version take over; with --supervise alone.',
    params: nothing,
    result: { type: 'object', properties: { version: name }, required: ['version'] },
  },
  quit: { summary: 'Ends the daemon, as SIGTERM does. The answer comes first.', params: nothing, result: nothing },
  subscribe: {
    summary: 'Has this client get events as notifications of the method `event`. A second one replaces the first.',
    params: {
      type: 'object',
      properties: {
        level: { ...level, description: 'Events of this level and above. Default: info, which is all.' },
        events: { type: 'array', items: { enum: EVENT_NAMES }, maxItems: 64, description: 'Only these. Default: all.' },
      },
      required: [],
    },
    result: nothing,
  },
  unsubscribe: { summary: 'Ends that.', params: nothing, result: nothing },
} as const;

/** The params of the notification `event`. `line` is what the log has. */
export const EVENT_PARAMS = {
  type: 'object',
  properties: {
    time: { type: 'string', description: 'ISO 8601, UTC.' },
    device: { ...name, description: 'Absent: the daemon itself.' },
    event: { type: 'string', description: 'As in errors.md; `log`: a line without a name; `lost`: see `count`.' },
    level,
    line: { type: 'string' },
    code: { type: 'string', description: 'Of the error, where there is one.' },
    count: { ...count, description: 'Of `lost`: so many events were left out, since this client did not read.' },
  },
  required: ['time', 'event', 'level', 'line'],
} as const;

export type MethodName = keyof typeof METHODS;
export type ParamsOf<Name extends MethodName> = ValueOf<(typeof METHODS)[Name]['params']>;
export type ResultOf<Name extends MethodName> = ValueOf<(typeof METHODS)[Name]['result']>;
export type ControlEvent = ValueOf<typeof EVENT_PARAMS>;

export function isMethod(method: string): method is MethodName {
  return Object.hasOwn(METHODS, method);
}
