// The microVM: a disk that a store of ours is behind, served in this process.

import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { LimitedLog } from '../sys/limited-log.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { DeviceHost } from '../transports/queue/queue-host.ts';
import type { Log } from '../virtio/log.ts';
import type { Machine } from './machine.ts';
import type { VirtioSlots } from './virtio-slots.ts';

export interface DiskSurroundings {
  readonly machine: Machine;
  readonly slots: VirtioSlots;
  /** One line for each thing a person should know. */
  readonly log: Log;
}

interface InProcess {
  readonly device: BlockDevice;
  readonly transport: Transport;
}

/** The store is closed when the machine ends. */
export async function addStoreDisk(store: BlockStore, surroundings: DiskSurroundings): Promise<void> {
  surroundings.machine.closeAtEnd({ close: () => store.close?.() });
  await plugStore(store, surroundings);
}

/** Puts it into a slot; closing it is the caller's. */
export async function plugStore(store: BlockStore, { machine, slots, log }: DiskSurroundings): Promise<InProcess> {
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
