// The microVM: a disk that is ours first, then a back end's, then ours again.
import { HandOver } from './hand-over.ts';
import type { LendableImage } from './lendable-image.ts';
import { type DiskSurroundings, plugStore } from './machine-disks.ts';

/** A disk that can go to a back end at `socket` and come back: `toggle` it. The image is closed when the machine ends. */
export async function addLendableDisk(
  image: LendableImage,
  socket: string,
  surroundings: DiskSurroundings,
): Promise<HandOver> {
  const { machine, log } = surroundings;
  machine.closeAtEnd({ close: () => image.close() });
  machine.closeAtEnd({ close: () => handOver[Symbol.dispose]() });
  const { device, transport } = await plugStore(image.store, surroundings);
  const { registers } = transport;
  const memory = machine.ram.regions();
  const handOver = new HandOver({ socket, device, image, registers, memory, loop: machine.loop, log });
  machine.closeAtEnd(handOver);
  return handOver;
}
