// bench/threads: a queue and its device on a thread that has nothing else to do: driven until nothing is left.
import type { VirtioDevice } from '../../src/virtio/device.ts';
import type { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { AreaBytes, QueueOptions, RunnableQueue } from '../../src/virtio/ring-format.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';

export class OwnedQueue {
  readonly queue: RunnableQueue;
  readonly #device: VirtioDevice;
  #isTurnOver = false;

  constructor(
    device: VirtioDevice,
    { size, areas, memory }: { readonly size: number; readonly areas: AreaBytes; readonly memory: GuestMemory },
    options: Omit<QueueOptions, 'again'>,
  ) {
    const again = (): void => {
      this.#isTurnOver = true;
    };
    this.#device = device;
    this.queue = splitFormat.open(size, areas, memory, { ...options, again });
  }

  /** Serves until the ring is empty and asks for kicks. */
  serve(): void {
    do {
      this.#isTurnOver = false;
      this.#device.process(0, this.queue);
    } while (this.#isTurnOver);
  }
}
