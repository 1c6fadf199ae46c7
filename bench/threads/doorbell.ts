// bench/threads: the two ways to wake a device thread that are compared: a signal sent to it, and an eventfd in its epoll set.
import { constants } from 'node:os';
import { Epoll } from '../../src/sys/epoll.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { SignalWait } from '../../src/sys/signal-wait.ts';
import { signalThread } from '../../src/sys/thread-signal.ts';

/** As hvisor-tool did it before and after its change #78. */
export const DOORBELLS = ['signal', 'eventfd'] as const;
export type DoorbellKind = (typeof DOORBELLS)[number];

/** Where to ring. The descriptor is of this process; `thread` is the device's. */
export interface DoorbellAddress {
  readonly kind: DoorbellKind;
  readonly fd: number;
  readonly thread: number;
}

/** SIGUSR1 is taken: Node starts its inspector on it. */
const SIGNAL = constants.signals.SIGUSR2;

/** The device's end. */
export interface Doorbell extends Disposable {
  /** Sleeps until it rings; what rang before counts. May return without. */
  wait(): void;
}

/** Made by the thread that will wait. */
export function openDoorbell(kind: DoorbellKind, fd: number): Doorbell {
  return kind === 'signal' ? new SignalDoorbell() : new EventFdDoorbell(fd);
}

/** The driver's end, on any thread. */
export function ringerOf({ kind, fd, thread }: DoorbellAddress): Pick<EventFd, 'signal'> {
  return kind === 'signal' ? { signal: () => signalThread(thread, SIGNAL) } : EventFd.borrow(fd);
}

class SignalDoorbell implements Doorbell {
  readonly #signals = new SignalWait([SIGNAL]);

  wait(): void {
    this.#signals.wait();
  }

  [Symbol.dispose](): void {
    this.#signals[Symbol.dispose]();
  }
}

class EventFdDoorbell implements Doorbell {
  readonly #epoll = new Epoll();
  readonly #kick: EventFd;

  constructor(fd: number) {
    this.#kick = EventFd.borrow(fd);
    this.#epoll.add(fd, 0);
  }

  wait(): void {
    this.#epoll.wait(-1);
    this.#kick.clear();
  }

  [Symbol.dispose](): void {
    this.#epoll[Symbol.dispose]();
  }
}

/** Whether a thread of this process sleeps although nobody rang: nothing of SIGNAL is pending for it. proc(5). */
export function sleepsUnrung(status: string): boolean {
  const [, state = ''] = /^State:\s*(\S)/m.exec(status) ?? [];
  const [, pending = '0'] = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return state === 'S' && (BigInt(`0x${pending}`) & (1n << BigInt(SIGNAL - 1))) === 0n;
}
