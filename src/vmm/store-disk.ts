// vmm: a disk over a store, served in this process.

import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { type DeviceEnvironment, plugDevice } from './plug-device.ts';

interface InProcess {
  readonly device: BlockDevice;
  readonly transport: Transport;
}

/** Adds a disk over `store`, which is closed when the machine ends. */
export async function addStoreDisk(store: BlockStore, environment: DeviceEnvironment): Promise<void> {
  environment.machine.closeAtEnd({ close: async () => await store.close?.() });
  await plugStore(store, environment);
}

/** Puts a disk over `store` into a slot. The caller closes the store. */
export async function plugStore(store: BlockStore, { machine, slots, log }: DeviceEnvironment): Promise<InProcess> {
  const device = new BlockDevice(store, { queues: machine.cpus });
  const transport = await plugDevice(device, store.name ?? 'disk', { machine, slots, log });
  return { device, transport };
}
