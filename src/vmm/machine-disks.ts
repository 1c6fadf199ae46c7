// The microVM: a disk served in the process. Those that others serve are in files of their own, loaded when one is asked for.
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { sayOnce } from '../transports/bus/say-once.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { LocalQueueHost } from '../transports/queue/local-host.ts';
import type { QueueHost } from '../transports/queue/queue-host.ts';
import type { Machine } from './machine.ts';
import type { VirtioSlots } from './virtio-slots.ts';

export interface DiskSurroundings {
  readonly machine: Machine;
  readonly slots: VirtioSlots;
  /** One line for each thing a person should know. */
  readonly log: (line: string) => void;
}

interface InProcess {
  readonly device: BlockDevice;
  readonly transport: Transport;
}

/** The store is closed when the machine ends. */
export function addStoreDisk(store: BlockStore, surroundings: DiskSurroundings): void {
  surroundings.machine.closeAtEnd({ close: () => store.close?.() });
  plugStore(store, 'wide', surroundings);
}

/** Puts it into a slot; closing it is the caller's. */
export function plugStore(
  store: BlockStore,
  ranges: 'wide' | 'portable',
  { machine, slots, log }: DiskSurroundings,
): InProcess {
  const say = (line: string): void => log(`${store.name ?? 'disk'}: ${line}`);
  const device = new BlockDevice(store, { queues: machine.cpus, ranges, onError: say });
  const host = new LocalQueueHost(device, machine.loop, { log: sayOnce(say) });
  giveMemory(host, machine);
  return { device, transport: slots.plug({ device, host, log: say }) };
}

function giveMemory(host: QueueHost, machine: Machine): void {
  const set = (regions: Parameters<QueueHost['setMemory']>[0]): void =>
    host.setMemory(regions, (problem) => {
      if (problem !== undefined) throw problem;
    });
  set(machine.ram.regions());
  machine.closeAtEnd({ close: () => set([]) });
}
