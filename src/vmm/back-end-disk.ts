// The microVM: a disk behind somebody else's back end, in a slot.
import type { DiskSurroundings } from './machine-disks.ts';
import { VhostUserDisk, type VhostUserDiskOptions } from './vhost-user-disk.ts';

/** Rejects with SystemError (nobody listens there), or BackEndError (what listens will not do). */
export async function addVhostUserDisk(
  { socket, whenGone }: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  { machine, slots, log }: DiskSurroundings,
): Promise<void> {
  const memory = machine.ram.regions();
  const disk = await VhostUserDisk.connect({ socket, whenGone, memory, loop: machine.loop, log });
  machine.closeAtEnd({ close: () => disk[Symbol.dispose]() });
  const { registers } = slots.plug({ host: disk.host, log: (line) => log(`${socket}: ${line}`) });
  disk.serve(registers);
  machine.closeAtEnd(disk);
}
