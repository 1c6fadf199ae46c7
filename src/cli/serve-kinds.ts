// Upper floor: what each kind of `belfry serve` makes of its arguments: a device on threads of its own, or in Node's loop.
import { DeviceDaemon } from '../daemon/device-daemon.ts';
import { blockDevice, type DeviceSource, type OpenDevice, plainDevice } from '../daemon/device-source.ts';
import { NodeDevice } from '../daemon/node-device.ts';
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { forward } from '../stores/filters/forward.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { type OpenedStore, openStore } from '../stores/open-store.ts';
import { isModule, loadModule, loadStore } from './load-module.ts';
import type { BlkFlags, ServeFlags, ThreadFlags } from './serve.ts';
import { type Making, runService } from './serve-run.ts';
import { UsageError } from './usage-error.ts';

export async function serveBlk(spec: string, flags: BlkFlags): Promise<void> {
  if (flags.threads > flags.queues)
    throw new UsageError(`--threads ${flags.threads}: with ${count(flags.queues, 'queue')} at most as many threads`);
  await runService(flags, async (report) => {
    if (isModule(spec)) return diskModule(spec, await loadStore(spec, report.log), flags);
    return image(spec, flags);
  });
}

function image(spec: string, flags: BlkFlags): Making {
  const { store, description } = openImage(spec, flags.readOnly);
  const options = blockOptions(flags);
  checkBlock(store, options);
  const { threads } = flags;
  const device: DeviceSource = { kind: 'blk', store: description, options };
  return {
    ...diskTraits(store, flags),
    ...onThreads(device, flags, threads),
    close: () => store.close?.(),
  };
}

function diskModule(spec: string, loaded: BlockStore, flags: BlkFlags): Making {
  if (flags.threads > 1) throw new UsageError('--threads: a module runs on one thread');
  refuseThreadFlags(flags);
  const store = named(flags.readOnly ? readOnly()(loaded) : loaded, spec);
  const options = blockOptions(flags);
  checkBlock(store, options);
  return { ...diskTraits(store, flags), ...inNode(blockDevice(store, options)) };
}

export async function serveRng(flags: ThreadFlags): Promise<void> {
  await runService(flags, async () => ({ name: 'random numbers', ...onThreads({ kind: 'rng' }, flags, 1) }));
}

/** A device of somebody's own, or a disk. */
export async function serveModule(spec: string, flags: ServeFlags): Promise<void> {
  if (!isModule(spec))
    throw new UsageError(`${spec} is neither a kind of device nor a module: "belfry serve blk ${spec}" serves a disk`);
  await runService(flags, async (report) => {
    const loaded = await loadModule(spec, report.log);
    if (loaded.kind === 'device')
      return { name: spec, queues: loaded.device.queueSizes.length, ...inNode(plainDevice(loaded.device)) };
    const store = named(loaded.store, spec);
    return {
      name: spec,
      sizeBytes: store.sizeBytes,
      readOnly: store.write === undefined,
      ...inNode(blockDevice(store, {})),
    };
  });
}

function onThreads(
  device: DeviceSource,
  { poll = 'auto', cpus, once }: ThreadFlags,
  threads: number,
): Pick<Making, 'threads' | 'poll' | 'start'> {
  return {
    threads,
    poll,
    start: (listener, { log, tell }) =>
      new DeviceDaemon({ device, listener, threads, poll, once, log, tell, ownsProcess: true, ...(cpus && { cpus }) }),
  };
}

function inNode(open: OpenDevice): Pick<Making, 'threads' | 'poll' | 'start'> {
  return {
    threads: 1,
    poll: 'off',
    start: (listener, { log, tell, once }) => new NodeDevice(open, { listener, once, log, tell }),
  };
}

/** A module is served in Node's loop, which sleeps as Node does, on the main thread. */
function refuseThreadFlags({ poll, cpus }: ThreadFlags): void {
  if (poll !== undefined && poll !== 'off')
    throw new UsageError('--poll: a module runs in Node’s own loop, which does not poll');
  if (cpus !== undefined) throw new UsageError('--cpus: a module runs on the main thread; use taskset(1)');
}

function blockOptions({ queues, serial, blockSize }: BlkFlags): BlockDeviceOptions {
  return { queues, serial, ...(blockSize !== undefined && { blockSize }) };
}

function checkBlock(store: BlockStore, options: BlockDeviceOptions): void {
  try {
    new BlockDevice(store, options);
  } catch (error) {
    if (error instanceof RangeError)
      throw new UsageError(error.message.replace(/^blockSize/, '--block-size: the block size'));
    throw error;
  }
}

function diskTraits(store: BlockStore, { queues }: BlkFlags) {
  return { name: store.name ?? 'disk', sizeBytes: store.sizeBytes, readOnly: store.write === undefined, queues };
}

function openImage(spec: string, readOnly: boolean): OpenedStore {
  try {
    return openStore(spec, { readOnly });
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`${spec}: ${error.message}`);
    throw error;
  }
}

function named(store: BlockStore, name: string): BlockStore {
  const forwarded = forward(store);
  forwarded.name ??= name;
  return forwarded;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
