// vmm: a disk over a store, served in this process.

import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { LimitedLog } from '../sys/limited-log.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { DeviceHost } from '../transports/queue/queue-host.ts';
import type { Log } from '../virtio/log.ts';
import type { Machine } from './machine.ts';
import type { VirtioSlots } from './virtio-slots.ts';

/** What a disk needs of its machine. */
export interface DiskEnvironment {
  readonly machine: Machine;
  readonly slots: VirtioSlots;
  /** Takes each log line. */
  readonly log: Log;
}

interface InProcess {
  readonly device: BlockDevice;
  readonly transport: Transport;
}

/** Adds a disk over `store`, which is closed when the machine ends. */
export async function addStoreDisk(store: BlockStore, environment: DiskEnvironment): Promise<void> {
  environment.machine.closeAtEnd({ close: async () => await store.close?.() });
  await plugStore(store, environment);
}

/** Puts a disk over `store` into a slot. The caller closes the store. */
export async function plugStore(store: BlockStore, { machine, slots, log }: DiskEnvironment): Promise<InProcess> {
  const lines = new LimitedLog((line) => log(`${store.name ?? 'disk'}: ${line}`));
  machine.closeAtEnd({ close: () => lines.flush() });
  const device = new BlockDevice(store, { queues: machine.cpus });
  const host = new LocalHost(device, machine.loop, { log: lines.log });
  await giveMemory(host, machine);
  return { device, transport: slots.plug({ host, log: lines.log }) };
}

async function giveMemory(host: DeviceHost, machine: Machine): Promise<void> {
  await host.setMemory(machine.ram.regions());
  machine.closeAtEnd({ close: () => host.setMemory([]) });
}
