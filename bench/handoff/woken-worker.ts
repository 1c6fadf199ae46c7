// bench/handoff: a worker that owns the ring, and is woken by a dispatcher that has the kick and never looks at the ring.
import type { Doorbell } from '../threads/doorbell.ts';
import type { OwnedQueue } from '../threads/owned-queue.ts';
import type { StopWord } from '../threads/stop-word.ts';
import type { Monitor } from './monitor.ts';

/** The dispatcher: passes each kick on. Gives how often it woke up. */
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

/** The worker: drains, and sleeps while the ring is empty. Gives how often it woke up. */
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
