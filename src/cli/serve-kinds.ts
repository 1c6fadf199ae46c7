// cli: turns the arguments of each kind of `belfry serve` into a service, and runs it.
import type { DeviceSource } from '../daemon/device-source.ts';
import { isModule } from '../daemon/load-module.ts';
import type { RehearsalPlan } from '../daemon/rehearsal-plan.ts';
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import { Limits } from '../stores/filters/limits.ts';
import { engineFor, openStore } from '../stores/open-store.ts';
import { closeFd } from '../sys/libc.ts';
import { createMemfd } from '../sys/memfd.ts';
import { commandName } from './command-name.ts';
import { count } from './quantities.ts';
import type { BlkFlags, RngFlags, ServeFlags, ThreadFlags } from './serve-flags.ts';
import { runService, type Service } from './serve-run.ts';
import { asUsage, UsageError } from './usage-error.ts';

/** It has time: nobody waits for it. */
const STANDBY_REHEARSAL = { sessions: 3, requests: 2048 };

/** Opens a disk. Throws UsageError, and what opening it throws. */
export function diskService(spec: string, flags: BlkFlags): Service {
  return isModule(spec) ? diskModule(spec, flags) : image(spec, flags);
}

/** Throws UsageError. */
export function checkDiskFlags({ threads, queues }: BlkFlags): void {
  if (threads > queues)
    throw new UsageError(`--threads ${threads}: with ${count(queues, 'queue')} at most as many threads`);
}

export async function serveBlk(spec: string, flags: BlkFlags): Promise<void> {
  checkDiskFlags(flags);
  if (flags.supervise && spec.startsWith('mem:'))
    throw new UsageError(`--supervise: ${spec} ends with its process, and nothing would be left for the next one`);
  const rehearsal = (): RehearsalPlan | undefined => rehearsalOfImage(spec, flags);
  await runService({ ...flags, rehearsal }, () => diskService(spec, flags));
}

function image(spec: string, flags: BlkFlags): Service {
  const { readOnly, format, engine, direct, shared, threads } = flags;
  const opened = usage(spec, () => openStore(spec, { readOnly, format, engine, direct, shared }));
  const { store, description, why } = opened;
  const options = blockOptions(flags);
  usage('', () => new BlockDevice(store, options));
  const source = { kind: 'blk', store: description, options, limits: limitsOf(flags) } as const;
  const chosen = { name: description.engine, why };
  return { ...onThreads(source, flags, threads), engine: chosen, close: async () => await store.close?.() };
}

/** What the threads of a process rehearse that stands by for an image, which another one serves. */
function rehearsalOfImage(spec: string, flags: BlkFlags): RehearsalPlan | undefined {
  const engine = isModule(spec) ? undefined : engineFor(spec, flags.engine);
  if (engine === undefined) return undefined;
  rehearseOpening(flags);
  const { readOnly, threads } = flags;
  const isLimited = limitsOf(flags) !== undefined;
  const isOver = new Int32Array(new SharedArrayBuffer(4));
  return {
    engine,
    readOnly,
    options: blockOptions(flags),
    isLimited,
    isShared: threads > 1,
    ...STANDBY_REHEARSAL,
    isOver,
  };
}

/** Opens and closes an image, so that the code for that is loaded. */
function rehearseOpening(flags: BlkFlags): void {
  const fd = createMemfd('belfry-rehearsal', 1 << 20);
  try {
    void image(`/proc/self/fd/${fd}`, flags).close?.();
  } catch {
    // It is in memory: not every engine serves it, and none with --direct.
  }
  closeFd(fd);
}

function diskModule(spec: string, flags: BlkFlags): Service {
  if (flags.format !== undefined) throw new UsageError('--format: a module is not an image');
  if (flags.engine !== 'auto') throw new UsageError('--engine: a module is not an image');
  if (flags.direct) throw new UsageError('--direct: a module is not an image');
  const { readOnly, threads } = flags;
  const options = blockOptions(flags);
  const source = { kind: 'module', module: spec, isDisk: true, readOnly, options, limits: limitsOf(flags) } as const;
  return onThreads(source, ownLoop(flags), threads);
}

export function rngService(flags: Pick<RngFlags, 'limit' | 'poll' | 'cpus'>): Service {
  const { bps, burst } = flags.limit ?? {};
  return onThreads({ kind: 'rng', bytesPerSecond: bps, burstSeconds: burst }, flags, 1);
}

export async function serveRng(flags: RngFlags): Promise<void> {
  await runService(flags, () => rngService(flags));
}

/** Serves the device or disk that a user's module exports. */
export async function serveModule(spec: string, flags: ServeFlags): Promise<void> {
  if (!isModule(spec))
    throw new UsageError(
      `${spec} is neither a kind of device nor a module: "${commandName()} serve blk ${spec}" serves a disk`,
    );
  await runService(flags, () => moduleService(spec));
}

export function moduleService(module: string): Service {
  return onThreads({ kind: 'module', module, isDisk: false, readOnly: false, options: {} }, { poll: 'off' }, 1);
}

function onThreads(
  device: DeviceSource,
  { poll = 'auto', cpus }: Pick<ThreadFlags, 'poll' | 'cpus'>,
  threads: number,
): Service {
  return { device, threads, poll, ...(cpus && { cpus }) };
}

/** A module is served in Node's event loop, which does not poll. */
function ownLoop({ poll, cpus }: ThreadFlags): Pick<ThreadFlags, 'poll' | 'cpus'> {
  if (poll !== undefined && poll !== 'off')
    throw new UsageError('--poll: a module runs in Node’s event loop, which does not poll');
  return { poll: 'off', ...(cpus && { cpus }) };
}

function blockOptions(flags: BlkFlags): BlockDeviceOptions {
  const { queues, serial, blockSize, onError, onReadError: read = onError, onWriteError: write = onError } = flags;
  const policy = { ...(read && { read }), ...(write && { write }) };
  return { queues, serial, ...(blockSize !== undefined && { blockSize }), onError: policy };
}

/** The memory of the limits of a disk; undefined without any, now or later. */
function limitsOf({ limit, limitRead: reads, limitWrite: writes, control }: BlkFlags): SharedArrayBuffer | undefined {
  const isLimited = limit !== undefined || reads !== undefined || writes !== undefined;
  // Over a control socket limits can come later.
  return isLimited || control !== undefined ? new Limits({ ...limit, reads, writes }).memory : undefined;
}

/** Runs `step`; a RangeError of it becomes a UsageError. */
function usage<T>(what: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw asUsage(error, what);
  }
}
