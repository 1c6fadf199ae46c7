// The microVM: its disks: a store served in-process, somebody's back end over vhost-user, or first the one and then the other.
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { LocalQueueHost } from '../transports/local-queue-host.ts';
import type { QueueHost } from '../transports/queue-host.ts';
import { sayOnce } from '../transports/say-once.ts';
import type { Transport } from '../transports/transport.ts';
import { HandOver } from './hand-over.ts';
import type { LendableImage } from './lendable-image.ts';
import type { Machine } from './machine.ts';
import { VhostUserDisk, type VhostUserDiskOptions } from './vhost-user-disk.ts';
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

function plugStore(
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

/** A disk that can go to a back end at `socket` and come back: `toggle` it. The image is closed when the machine ends. */
export function addLendableDisk(image: LendableImage, socket: string, surroundings: DiskSurroundings): HandOver {
  const { machine, log } = surroundings;
  machine.closeAtEnd({ close: () => image.close() });
  machine.closeAtEnd({ close: () => handOver[Symbol.dispose]() });
  const { device, transport } = plugStore(image.store, 'portable', surroundings);
  const { session } = transport;
  const memory = machine.ram.regions();
  const handOver = new HandOver({ socket, device, image, session, memory, loop: machine.loop, log });
  machine.closeAtEnd(handOver);
  return handOver;
}

/** Rejects with SystemError (nobody listens there), or BackEndError (what listens will not do). */
export async function addVhostUserDisk(
  { socket, whenGone }: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  { machine, slots, log }: DiskSurroundings,
): Promise<void> {
  const memory = machine.ram.regions();
  const disk = await VhostUserDisk.connect({ socket, whenGone, memory, loop: machine.loop, log });
  machine.closeAtEnd({ close: () => disk[Symbol.dispose]() });
  const { device, host } = disk;
  const { session } = slots.plug({ device, host, log: (line) => log(`${socket}: ${line}`) });
  disk.serve(session);
  machine.closeAtEnd(disk);
}

function giveMemory(host: QueueHost, machine: Machine): void {
  const set = (regions: Parameters<QueueHost['setMemory']>[0]): void =>
    host.setMemory(regions, (problem) => {
      if (problem !== undefined) throw problem;
    });
  set(machine.ram.regions());
  machine.closeAtEnd({ close: () => set([]) });
}
