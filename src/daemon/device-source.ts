// Upper floor: which device a thread is to make: a plain value that crosses threads, and what comes of it on each.
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { RngDevice } from '../devices/rng/rng-device.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { reopenStore, type StoreDescription } from '../stores/open-store.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { Log } from '../virtio/log.ts';
import { loadModule, loadStore } from './load-module.ts';
import { type ConsolePort, openConsole } from './open-console.ts';
import type { OpenDevice } from './open-device.ts';

/** A disk or a device that somebody wrote. */
export interface ModuleSource {
  readonly kind: 'module';
  /** The path, as it was given. */
  readonly module: string;
  /** A disk is wanted; a device would be an error. */
  readonly isDisk: boolean;
  /** Of a disk. */
  readonly readOnly: boolean;
  readonly options: BlockDeviceOptions;
}

/** A device as a plain value: post it to another thread of this process, and `openDevice` it there. */
export type DeviceSource =
  | { readonly kind: 'blk'; readonly store: StoreDescription; readonly options: BlockDeviceOptions }
  | { readonly kind: 'rng' }
  | ConsolePort
  | ModuleSource;

/** Whether it waits for Node: for a timer, a stream, a fetch. */
export function needsNode({ kind }: DeviceSource): boolean {
  return kind === 'module' || kind === 'console';
}

/** Rejects with what its store, module or options throw. */
export async function openDevice(source: DeviceSource, log: Log): Promise<OpenDevice> {
  if (source.kind === 'rng') return plainDevice(new RngDevice(), 'random numbers');
  if (source.kind === 'blk') return blockDevice(reopenStore(source.store), source.options, source.store.name);
  if (source.kind === 'console') return openConsole(source);
  return moduleDevice(source, log);
}

async function moduleDevice(
  { module, isDisk, readOnly: isReadOnly, options }: ModuleSource,
  log: Log,
): Promise<OpenDevice> {
  if (isDisk) return disk(await loadStore(module, log));
  const loaded = await loadModule(module, log);
  return loaded.kind === 'device' ? plainDevice(loaded.device, module) : disk(loaded.store);

  function disk(store: BlockStore): OpenDevice {
    return blockDevice(isReadOnly ? readOnly()(store) : store, options, store.name ?? module);
  }
}

/** A disk over a store of this thread's own. */
export function blockDevice(store: BlockStore, options: BlockDeviceOptions, name = store.name ?? 'disk'): OpenDevice {
  const device = new BlockDevice(store, options);
  let { sizeBytes } = store;
  const queues = device.queueSizes.length;
  return {
    device,
    profile: { name, type: device.type, queues, sizeBytes, readOnly: store.write === undefined },
    bytes: () => device.bytes,
    refresh: () => {
      const now = store.refreshSize?.() ?? store.sizeBytes;
      device.resize(now);
      if (now === sizeBytes) return undefined;
      sizeBytes = now;
      return now;
    },
    close: async () => {
      await store.flush?.();
      await store.close?.();
    },
  };
}

/** A device with nothing behind it that could change. */
function plainDevice(device: VirtioDevice, name: string): OpenDevice {
  return {
    device,
    profile: { name, type: device.type, queues: device.queueSizes.length },
    bytes: () => ({ read: 0, written: 0 }),
    refresh: () => undefined,
    close: async () => await device.close?.(),
  };
}
