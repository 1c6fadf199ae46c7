// daemon: which device a thread opens, as a plain value that crosses threads, and how each thread opens it.
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { RngDevice, type RngDeviceOptions } from '../devices/rng/rng-device.ts';
import { limit } from '../stores/filters/limit.ts';
import { Limits } from '../stores/filters/limits.ts';
import { readOnly } from '../stores/filters/read-only.ts';
import { reopenStore, type StoreDescription } from '../stores/open-store.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { Log } from '../virtio/log.ts';
import { loadModule, loadStore } from './load-module.ts';
import { openConsole, type ServedConsole } from './open-console.ts';
import type { OpenDevice } from './open-device.ts';
import { type NetSource, openNet } from './open-net.ts';
import { openVsock, type VsockSource } from './open-vsock.ts';

/** A disk or a device in a module of the user's. */
export interface ModuleSource {
  readonly kind: 'module';
  /** The path, as the user gave it. */
  readonly module: string;
  /** The module has to export a disk; a device is an error. */
  readonly isDisk: boolean;
  /** Disks only: the driver may not write. */
  readonly readOnly: boolean;
  readonly options: BlockDeviceOptions;
  /** Disks only: the memory of its `Limits`. Absent: none. */
  readonly limits?: SharedArrayBuffer | undefined;
}

/** An image, or a disk of memory. */
export interface ImageSource {
  readonly kind: 'blk';
  readonly store: StoreDescription;
  readonly options: BlockDeviceOptions;
  /** The memory of its `Limits`, which all threads share. Absent: none. */
  readonly limits?: SharedArrayBuffer | undefined;
}

/** A source of random numbers. */
export interface RngSource extends RngDeviceOptions {
  readonly kind: 'rng';
}

/** A device as a plain value: another thread of this process can receive it and open it with `openDevice`. */
export type DeviceSource = ImageSource | RngSource | ServedConsole | NetSource | VsockSource | ModuleSource;

/**
 * The same for a single thread, whose store shares no record of allocated blocks: that would cost every request. No
 * other store of the same file may be used in this process meanwhile.
 */
export function unshared(source: DeviceSource): DeviceSource {
  return source.kind === 'blk' ? { ...source, store: { ...source.store, shared: undefined } } : source;
}

/** Whether the device needs Node's loop: for a timer, a stream, a fetch. */
export function needsNode({ kind }: DeviceSource): boolean {
  return kind === 'module' || kind === 'console';
}

/** Opens a device on this thread. Rejects with what its store, module or options throw. */
export async function openDevice(source: DeviceSource, log: Log): Promise<OpenDevice> {
  if (source.kind === 'rng') return plainDevice(new RngDevice(undefined, source), 'random numbers');
  if (source.kind === 'blk') return image(source);
  if (source.kind === 'console') return openConsole(source, log);
  if (source.kind === 'net') return openNet(source);
  if (source.kind === 'vsock') return openVsock(source);
  return moduleDevice(source, log);
}

function image({ store: description, limits, options }: ImageSource): OpenDevice {
  const store = limited(reopenStore(description), limits);
  const open = blockDevice(store, options, description.name);
  // The next process reads the same page cache.
  return { ...open, close: async (isPassedOn) => (isPassedOn ? await store.close?.() : await open.close()) };
}

async function moduleDevice(
  { module, isDisk, readOnly: isReadOnly, options, limits }: ModuleSource,
  log: Log,
): Promise<OpenDevice> {
  if (isDisk) return disk(await loadStore(module, log));
  const loaded = await loadModule(module, log);
  return loaded.kind === 'device' ? plainDevice(loaded.device, module) : disk(loaded.store);

  function disk(store: BlockStore): OpenDevice {
    const disk = limited(isReadOnly ? readOnly()(store) : store, limits);
    return blockDevice(disk, options, store.name ?? module);
  }
}

function limited(store: BlockStore, limits: SharedArrayBuffer | undefined): BlockStore {
  return limits === undefined ? store : limit(new Limits(limits))(store);
}

/** A disk over a store that only this thread uses. */
export function blockDevice(store: BlockStore, options: BlockDeviceOptions, name = store.name ?? 'disk'): OpenDevice {
  const device = new BlockDevice(store, options);
  let { sizeBytes } = store;
  const queues = device.queueSizes.length;
  return {
    device,
    profile: { name, type: device.type, queues, sizeBytes, readOnly: store.write === undefined },
    blockCounts: device.counts,
    bytes: () => device.bytes,
    refresh: () => {
      const now = store.refreshSize?.() ?? store.sizeBytes;
      device.resize(now);
      if (now === sizeBytes) return undefined;
      sizeBytes = now;
      return now;
    },
    retryHeld: () => device.retryHeld(),
    heldUnrecorded: () => device.heldUnrecorded,
    passOn: () => device.passOn(),
    close: async () => {
      await store.flush?.();
      await store.close?.();
    },
  };
}

/** A device without a store whose size could change. */
function plainDevice(device: VirtioDevice, name: string): OpenDevice {
  return {
    device,
    profile: { name, type: device.type, queues: device.queueSizes.length },
    bytes: () => ({ read: 0, written: 0 }),
    refresh: () => undefined,
    ...(device instanceof BlockDevice && {
      blockCounts: device.counts,
      retryHeld: () => device.retryHeld(),
      heldUnrecorded: () => device.heldUnrecorded,
      passOn: () => device.passOn(),
    }),
    close: async () => await device.close?.(),
  };
}
