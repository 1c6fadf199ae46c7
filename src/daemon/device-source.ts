// Upper floor: which device a thread is to make: a plain value that crosses threads, and what comes of it on each.
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { RngDevice } from '../devices/rng/rng-device.ts';
import { reopenStore, type StoreDescription } from '../stores/open-store.ts';
import type { VirtioDevice } from '../virtio/device.ts';

/** A device as a plain value: post it to another thread of this process, and `openDevice` it there. */
export type DeviceSource =
  | { readonly kind: 'blk'; readonly store: StoreDescription; readonly options: BlockDeviceOptions }
  | { readonly kind: 'rng' };

/** A device on the thread that made it, with what stands behind it. */
export interface OpenDevice {
  readonly device: VirtioDevice;
  /** Bytes moved so far. */
  bytes(): { readonly read: number; readonly written: number };
  /** Looks again at what can change outside (the size of a store); the driver is told. */
  refresh(): void;
  /** Makes what the guest was told is written durable, and gives everything back. */
  close(): Promise<void>;
}

export function openDevice(source: DeviceSource): OpenDevice {
  if (source.kind === 'rng') return plainDevice(new RngDevice());
  return blockDevice(reopenStore(source.store), source.options);
}

/** A disk over a store of this thread's own. */
export function blockDevice(store: BlockStore, options: BlockDeviceOptions): OpenDevice {
  const device = new BlockDevice(store, options);
  return {
    device,
    bytes: () => device.bytes,
    refresh: () => device.resize(store.refreshSize?.() ?? store.sizeBytes),
    close: async () => {
      await store.flush?.();
      await store.close?.();
    },
  };
}

/** A device with nothing behind it that could change or be closed. */
export function plainDevice(device: VirtioDevice): OpenDevice {
  return { device, bytes: () => ({ read: 0, written: 0 }), refresh: () => {}, close: async () => {} };
}
