// bench/threads: the two ways to wake a device thread: a signal sent to it, and an eventfd in its epoll set.
import { constants } from 'node:os';
import { Epoll } from '../../src/sys/epoll.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { SignalWait } from '../../src/sys/signal-wait.ts';
import { signalThread } from '../../src/sys/thread-signal.ts';

/** What hvisor-tool used before and after its change #78. */
export const DOORBELLS = ['signal', 'eventfd'] as const;
export type DoorbellKind = (typeof DOORBELLS)[number];

/** The address of a doorbell. The descriptor belongs to this process; `thread` is the device's thread id. */
export interface DoorbellAddress {
  readonly kind: DoorbellKind;
  readonly fd: number;
  readonly thread: number;
}

/** Not SIGUSR1: Node starts its inspector on it. */
const SIGNAL = constants.signals.SIGUSR2;

/** The device's end. */
export interface Doorbell extends Disposable {
  /** Sleeps until it is rung; a ring before the call counts. May return without a ring. */
  wait(): void;
}

/** Opens the device's end. Called by the thread that will wait. */
export function openDoorbell(kind: DoorbellKind, fd: number): Doorbell {
  return kind === 'signal' ? new SignalDoorbell() : new EventFdDoorbell(fd);
}

/** Returns the driver's end. Usable on any thread. */
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

/** Whether a thread sleeps and no SIGNAL is pending for it, by its /proc/…/status. proc(5). */
export function sleepsUnrung(status: string): boolean {
  const [, state = ''] = /^State:\s*(\S)/m.exec(status) ?? [];
  const [, pending = '0'] = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status) ?? [];
  return state === 'S' && (BigInt(`0x${pending}`) & (1n << BigInt(SIGNAL - 1))) === 0n;
}
