// hvisor: one device's interrupt, which is injected again until the driver acknowledges it.
//
// hvisor drops an injection while the guest's CPU still handles the one before: between the acknowledgement and the end
// of interrupt a completion would be lost. The driver looks at its ring after it wrote InterruptACK, so an
// acknowledgement covers every injection before it, and only an injection without one has to be repeated.
import type { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { InterruptPort } from '../bus/transport.ts';

/** An interrupt that is not acknowledged for so long is injected again; the time then doubles each time. */
export const REPEAT_MS = 10;
const REPEAT_MS_MAX = 1000;

export interface BridgeInterruptOptions {
  readonly loop: EventLoop;
  /** Injects the interrupt. */
  inject(): void;
  /** An injection was repeated. */
  repeated(): void;
}

/** One device's interrupt. */
export class BridgeInterrupt implements InterruptPort {
  readonly #options: BridgeInterruptOptions;
  /** When the oldest injection that is not acknowledged was made; undefined: none. */
  #openSinceMs: number | undefined;
  #delayMs = REPEAT_MS;
  #timer: Disposable | undefined;

  constructor(options: BridgeInterruptOptions) {
    this.#options = options;
  }

  assign(eventFd: EventFd): Disposable {
    const { loop } = this.#options;
    // Several signals until this turn of the loop are one injection: the driver takes all that is in its ring.
    const watch = loop.watch(eventFd.fd, { readable: () => eventFd.clear() && this.#raise() });
    return {
      [Symbol.dispose]: () => {
        watch[Symbol.dispose]();
        this.settled();
        this.#timer?.[Symbol.dispose]();
      },
    };
  }

  #raise(): void {
    this.#options.inject();
    this.#openSinceMs ??= performance.now();
    this.#timer ??= this.#options.loop.timer(this.#delayMs, this.#check);
  }

  /** The driver acknowledged what was injected until now, or reset the device. */
  settled(): void {
    this.#openSinceMs = undefined;
    this.#delayMs = REPEAT_MS;
  }

  /** A timer is never taken back by an acknowledgement, which would cost each interrupt two system calls. */
  readonly #check = (): void => {
    this.#timer = undefined;
    if (this.#openSinceMs === undefined) return;
    const leftMs = this.#openSinceMs + this.#delayMs - performance.now();
    if (leftMs <= 0) this.#repeat();
    this.#timer = this.#options.loop.timer(leftMs > 0 ? leftMs : this.#delayMs, this.#check);
  };

  #repeat(): void {
    this.#options.repeated();
    this.#options.inject();
    this.#openSinceMs = performance.now();
    this.#delayMs = Math.min(REPEAT_MS_MAX, 2 * this.#delayMs);
  }
}
