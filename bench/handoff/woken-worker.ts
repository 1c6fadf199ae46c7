// bench/handoff: another design on purpose: a worker owns the ring; a dispatcher has the kick and only wakes it.
import type { VirtioDevice } from '../../src/index.ts';
import type { GuestMemory } from '../../src/virtio/guest-memory.ts';
import type { AreaBytes, QueueOptions, RunnableQueue } from '../../src/virtio/ring-format.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import type { Doorbell } from '../threads/doorbell.ts';
import type { StopWord } from '../threads/shared-queue.ts';
import type { Monitor } from './monitor.ts';

/** A queue and its device on a thread of their own. */
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

/** The dispatcher: passes each kick on. Returns how often it woke up. */
export function passKicksOn(doorbell: Doorbell, monitor: Monitor, stop: StopWord): number {
  let wakeUps = 0;
  while (!stop.isSet) {
    doorbell.wait();
    wakeUps++;
    monitor.lock();
    monitor.signal();
    monitor.unlock();
  }
  return wakeUps;
}

/** The worker: drains, and sleeps while the ring is empty. Returns how often it woke up. */
export function serveWhenWoken(owned: OwnedQueue, monitor: Monitor, stop: StopWord): number {
  for (let wakeUps = 0; ; ) {
    owned.serve();
    monitor.lock();
    // A kick after this look finds the worker waiting: the dispatcher needs the lock to signal.
    while (!owned.queue.hasWork() && !stop.isSet) {
      monitor.wait();
      wakeUps++;
    }
    monitor.unlock();
    if (stop.isSet) return wakeUps;
  }
}
