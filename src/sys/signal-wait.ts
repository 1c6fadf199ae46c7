// sys: sigwaitinfo(2): sleeps until this thread receives a signal. A signal that is pending already is not queued.
import { checkOrAgain, libc } from './libc.ts';
import { Scratch } from './scratch.ts';
import { blockSignals } from './thread-signal.ts';

/** Waits synchronously for signals of this thread. */
export class SignalWait implements Disposable {
  readonly #set = new Scratch(128);

  /** Blocks `signals` in this thread: from now on they stay pending until `wait` accepts them. */
  constructor(signals: readonly number[]) {
    blockSignals(signals, this.#set);
  }

  /**
   * Sleeps until one of the signals is pending, accepts it and returns its number; undefined when another signal
   * interrupted.
   */
  wait(): number | undefined {
    // SAFETY: the sigset_t lives as long as this object; a null siginfo_t is allowed.
    return checkOrAgain(libc.sigwaitinfo(this.#set.address, 0n), 'sigwaitinfo');
  }

  [Symbol.dispose](): void {
    this.#set[Symbol.dispose]();
  }
}
