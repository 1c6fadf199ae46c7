// bus/pci: the doorbells of a function's queues: they move with its BAR, and are nowhere while it is not mapped.
import type { EventFd } from '../../../sys/event-fd.ts';
import type { DoorbellPort } from '../transport.ts';
import { NOTIFY_MULTIPLIER } from './spec.ts';

interface Assigned {
  readonly queue: number;
  readonly eventFd: EventFd;
  placed: Disposable | undefined;
}

/** The doorbells of one function. */
export class PciDoorbells {
  readonly #port: DoorbellPort;
  readonly #log: (line: string) => void;
  readonly #assigned = new Set<Assigned>();
  #address: number | undefined;

  constructor(port: DoorbellPort, log: (line: string) => void) {
    this.#port = port;
    this.#log = log;
  }

  /**
   * Makes writes to a queue's doorbell signal the eventfd, until disposed. Throws SystemError if the kernel refuses.
   */
  assign(queue: number, eventFd: EventFd): Disposable {
    const one: Assigned = { queue, eventFd, placed: undefined };
    this.#place(one);
    this.#assigned.add(one);
    return {
      [Symbol.dispose]: () => {
        this.#assigned.delete(one);
        one.placed?.[Symbol.dispose]();
      },
    };
  }

  /** Moves all doorbells: `address` is the guest address of the notification structure; undefined: unmapped. */
  moveTo(address: number | undefined): void {
    this.#address = address;
    const each = (step: (one: Assigned) => void, problem: string): void => {
      for (const one of this.#assigned) {
        try {
          step(one);
        } catch (error) {
          this.#log(`${problem}: ${(error as Error).message}`);
        }
      }
    };
    each(takeBack, 'the kernel goes on ringing a doorbell at its old address');
    each((one) => this.#place(one), 'a doorbell that moved takes the slow path, out of the guest');
  }

  /**
   * Each queue has a word that the driver never reads, so writes of any length may signal, which is the fastest kind.
   */
  #place(one: Assigned): void {
    if (this.#address === undefined) return;
    const address = this.#address + one.queue * NOTIFY_MULTIPLIER;
    one.placed = this.#port.assign({ address, lengthBytes: 0 }, one.eventFd);
  }
}

/** Removes a doorbell. If the kernel refuses, it goes on signalling at the old address, where nothing else is. */
function takeBack(one: Assigned): void {
  const { placed } = one;
  one.placed = undefined;
  placed?.[Symbol.dispose]();
}
