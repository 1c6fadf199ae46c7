// Ground floor: the doorbells of a function's queues: they go where its BAR goes, and are nowhere while that does not answer.
import type { EventFd } from '../../../sys/event-fd.ts';
import type { DoorbellPort } from '../transport.ts';
import { NOTIFY_MULTIPLIER } from './spec.ts';

interface Assigned {
  readonly queue: number;
  readonly eventFd: EventFd;
  placed: Disposable | undefined;
}

export class PciDoorbells {
  readonly #port: DoorbellPort;
  readonly #say: (line: string) => void;
  readonly #assigned = new Set<Assigned>();
  #address: number | undefined;

  constructor(port: DoorbellPort, say: (line: string) => void) {
    this.#port = port;
    this.#say = say;
  }

  /** Has a queue's doorbell ring the eventfd, until disposed. Throws SystemError where the kernel will not. */
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

  /** The notification structure stands at this guest address now; undefined: nowhere. */
  moveTo(address: number | undefined): void {
    this.#address = address;
    const each = (step: (one: Assigned) => void, problem: string): void => {
      for (const one of this.#assigned) {
        try {
          step(one);
        } catch (error) {
          this.#say(`${problem}: ${(error as Error).message}`);
        }
      }
    };
    each(takeBack, 'the kernel goes on ringing a doorbell at its old address');
    each((one) => this.#place(one), 'a doorbell that moved takes the slow path, out of the guest');
  }

  /** A word for each queue, and nothing the driver reads: any length rings, which is the fastest. */
  #place(one: Assigned): void {
    if (this.#address === undefined) return;
    const address = this.#address + one.queue * NOTIFY_MULTIPLIER;
    one.placed = this.#port.assign({ address, lengthBytes: 0 }, one.eventFd);
  }
}

/** What the kernel does not give back it rings for ever; nothing stands at that address any more. */
function takeBack(one: Assigned): void {
  const { placed } = one;
  one.placed = undefined;
  placed?.[Symbol.dispose]();
}
