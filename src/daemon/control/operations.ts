// control: does what the methods of the control socket say, for the devices of this process.
import { SCOPES } from '../../stores/filters/limits.ts';
import { LATENCY_BOUNDS_NS } from '../../virtio/queue-counters.ts';
import { CODES, RpcError } from './json-rpc.ts';
import { type LEVELS, type MethodName, type ParamsOf, PROTOCOL_VERSION, type ResultOf } from './methods.ts';
import type { OperatedDevice } from './operated-device.ts';

type Level = (typeof LEVELS)[number];

/** The process that serves the devices. */
export interface Operated {
  readonly version: string;
  devices(): readonly OperatedDevice[];
  logLevel: Level;
  /** Ends the process in order. */
  quit(): void;
}

type Handlers = {
  readonly [Name in MethodName]?: (params: ParamsOf<Name>) => ResultOf<Name> | Promise<ResultOf<Name>>;
};

/** Returns a `ControlHandler` for the devices of this process. */
export function operate(operated: Operated): (method: MethodName, params: unknown) => unknown {
  const one = (name: string | undefined): OperatedDevice => deviceOf(operated.devices(), name);
  const some = (name: string | undefined): readonly OperatedDevice[] =>
    name === undefined ? operated.devices() : [one(name)];
  const handlers: Handlers = {
    version: () => ({ belfry: operated.version, protocol: PROTOCOL_VERSION, pid: process.pid }),
    list: () => ({ devices: operated.devices().map(listed) }),
    stats: async ({ device }) => {
      const devices = await Promise.all(some(device).map(totalsOf));
      return { nowMs: performance.now(), devices };
    },
    queues: async ({ device }) => ({ queues: await one(device).reports() }),
    resize: async ({ device, sizeBytes }) => ({ sizeBytes: await one(device).resize(sizeBytes) }),
    pause: ({ device }) => nothing(one(device).setPaused(true)),
    resume: ({ device }) => nothing(one(device).setPaused(false)),
    limits: (params) => limits(one(params.device), params),
    retry: ({ device }) => nothing(one(device).options.daemon.retryHeld()),
    'log-level': ({ level }) => {
      operated.logLevel = level ?? operated.logLevel;
      return { level: operated.logLevel };
    },
    quit: () => nothing(setImmediate(() => operated.quit())),
  };
  return (method, params) => {
    const handler = handlers[method] as ((params: unknown) => unknown) | undefined;
    if (handler === undefined) throw new RpcError(CODES.failed, 'it is not supervised: start it with --supervise');
    return handler(params);
  };
}

function nothing(_done: unknown): Record<never, never> {
  return {};
}

function deviceOf(devices: readonly OperatedDevice[], name: string | undefined): OperatedDevice {
  const names = devices.map((device) => device.name);
  const [only] = devices;
  if (name === undefined && devices.length === 1 && only !== undefined) return only;
  if (name === undefined)
    throw new RpcError(CODES.invalidParams, `"device" is missing: it is one of ${names.join(', ')}`);
  const found = devices.find((device) => device.name === name);
  if (found === undefined)
    throw new RpcError(CODES.invalidParams, `there is no device "${name}"; there are: ${names.join(', ') || 'none'}`);
  return found;
}

function listed(device: OperatedDevice): ResultOf<'list'>['devices'][number] {
  const { name, kind, sizeBytes, isConnected, isPaused, startedMs } = device;
  const { socket, threads, profile } = device.options;
  return {
    ...{ device: name, kind, about: profile.name, queues: profile.queues, threads },
    ...(socket !== undefined && { socket }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(profile.readOnly !== undefined && { readOnly: profile.readOnly }),
    ...{ connected: isConnected, paused: isPaused, upMs: performance.now() - startedMs },
  };
}

/** What a device has done. The threads of a disk are not asked: all of it is in shared memory. */
export async function totalsOf(device: OperatedDevice): Promise<ResultOf<'stats'>['devices'][number]> {
  const { queues, polls, blocks } = device.options.daemon.counts();
  const other = blocks === undefined ? await device.snapshot() : undefined;
  const sum = (of: (queue: (typeof queues)[number]) => number): number => queues.reduce((all, q) => all + of(q), 0);
  const buckets = [...LATENCY_BOUNDS_NS, 0].map((_, i) => sum(({ latency }) => latency.buckets[i] ?? 0));
  return {
    device: device.name,
    requests: sum(({ requests }) => requests),
    batches: sum(({ batches }) => batches),
    kicks: sum(({ kicks }) => kicks),
    calls: sum(({ calls }) => calls),
    inFlight: sum(({ inFlight }) => inFlight),
    bytesRead: blocks?.read ?? other?.bytesRead ?? 0,
    bytesWritten: blocks?.written ?? other?.bytesWritten ?? 0,
    ...(other?.droppedFrames !== undefined && { droppedFrames: other.droppedFrames }),
    pollHits: polls.reduce((all, { hits }) => all + hits, 0),
    pollMisses: polls.reduce((all, { misses }) => all + misses, 0),
    ...(blocks && { requestsByKind: blocks.requests.filter(({ count }) => count > 0) }),
    latency: { boundsNs: LATENCY_BOUNDS_NS, buckets, sumNs: sum(({ latency }) => latency.sumNs) },
  };
}

function limits(device: OperatedDevice, { scope = 'all', iops, bps, burst }: ParamsOf<'limits'>): ResultOf<'limits'> {
  if (iops !== undefined || bps !== undefined) device.setLimit({ iops, bps, burst }, scope);
  else if (burst !== undefined)
    throw new RpcError(CODES.invalidParams, 'burst limits nothing by itself: add iops or bps');
  const now = device.limits;
  return { limits: now === undefined ? [] : SCOPES.map((one) => ({ scope: one, ...now.get(one) })) };
}
