// test/kvm: waits until the kernel and other threads have finished pending work, for tests that nothing happens.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Vm } from '../../src/kvm/vm.ts';
import { EventFd } from '../../src/sys/event-fd.ts';

/** Without a route: rung, it interrupts nobody. */
const UNROUTED_GSI = 4000;

/**
 * A ring of an irqfd raises its line from a worker of the kernel, in the order in which this processor's irqfds were rung; and
 * the deassignment of one waits for that worker, and for irqfds whose descriptors were closed. Needs an irqchip.
 */
export function kernelTurn(vm: Vm): void {
  using last = EventFd.create();
  const registration = vm.irqfds.assign({ gsi: UNROUTED_GSI }, last);
  last.signal();
  registration[Symbol.dispose]();
}

/** This thread sleeps until another has begun and ended: those that had something to do had the processor. */
export async function otherThreadsTurn(): Promise<void> {
  await once(new Worker('', { eval: true }), 'exit');
}
