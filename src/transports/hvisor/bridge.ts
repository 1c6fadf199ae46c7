// hvisor: serves the requests of the bridge page from the registers of devices, and injects their interrupts.
import { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import { LimitedLog } from '../../sys/limited-log.ts';
import type { Pollable } from '../../sys/pollable.ts';
import type { Registers } from '../bus/registers.ts';
import { BridgePage, type BridgeRequest } from './bridge-page.ts';
import type { HvisorPort } from './hvisor-port.ts';

/** Requests served before the loop's other work gets a turn. */
const REQUESTS_A_TURN = 64;
/** A sleep on the bridge never lasts longer: hvisor may drop a wake-up. */
export const SLEEP_MS_MAX = 100;
/** How soon to offer results again that found the ring full. */
const FULL_MS = 1;

/** A device's registers in a zone's guest physical memory. */
export interface BridgeWindow {
  readonly zone: number;
  readonly address: number;
  readonly sizeBytes: number;
  readonly registers: Registers;
}

/** Counts since the start. */
export interface BridgeCounters {
  requests: number;
  /** Synchronous ones, which were answered. */
  answers: number;
  /** No device is there: a read gets 0. */
  unmatched: number;
  wakeups: number;
  /** Requests that the time-out found and no wake-up told of. It should be 0. */
  lateWakeups: number;
  injected: number;
  /** Injections that were repeated because the driver did not acknowledge the first. */
  repeated: number;
  /** Injections that waited because the result ring was full. */
  heldBack: number;
}

/** The bridge to hvisor on one event loop. */
export class Bridge implements Pollable, Disposable {
  /** Answers that take time are promises of the device's registers, which settle without the bridge. */
  readonly isSettled = false;
  readonly counters: BridgeCounters = {
    ...{ requests: 0, answers: 0, unmatched: 0, wakeups: 0 },
    ...{ lateWakeups: 0, injected: 0, repeated: 0, heldBack: 0 },
  };
  readonly loop: EventLoop;
  readonly #port: HvisorPort;
  readonly #page: BridgePage;
  readonly #eventFd = EventFd.create();
  readonly #log: (line: string) => void;
  readonly #resources = new DisposableStack();
  #windows: readonly BridgeWindow[] = [];
  /** The loop polls the page: no wake-ups are wanted. */
  #isPolled = false;
  /** Interrupts that found the result ring full, by zone and number. */
  readonly #held = new Map<string, readonly [zone: number, irq: number]>();
  #heldTimer: Disposable | undefined;

  /** The caller attaches the devices, and then calls `start`. Throws SystemError. */
  constructor(port: HvisorPort, loop: EventLoop, log: (line: string) => void) {
    this.#port = port;
    this.loop = loop;
    this.#log = new LimitedLog(log).log;
    this.#page = new BridgePage(port.page);
    this.#resources.use(this.#eventFd);
    port.setEventFd(this.#eventFd);
  }

  /** Serves requests from now on. What was pushed before is found: nobody was woken for it. */
  start(): void {
    this.#resources.use(this.loop.watch(this.#eventFd.fd, { readable: this.#wake, pollable: this }));
    this.#keepLooking();
    this.#serve();
  }

  #keepLooking(): void {
    const look = (): void => {
      timer = this.loop.timer(SLEEP_MS_MAX, look);
      if (!this.#page.hasRequest) return;
      if (!this.#eventFd.clear()) this.counters.lateWakeups++;
      this.#serve();
    };
    let timer = this.loop.timer(SLEEP_MS_MAX, look);
    this.#resources.defer(() => timer[Symbol.dispose]());
  }

  /** Makes the registers answer in that window, until disposed. Throws RangeError where it overlaps another. */
  attach(window: BridgeWindow): Disposable {
    const end = window.address + window.sizeBytes;
    const other = this.#windows.find(
      ({ zone, address, sizeBytes }) => zone === window.zone && address < end && window.address < address + sizeBytes,
    );
    if (other !== undefined)
      throw new RangeError(`two devices of zone ${window.zone} share address 0x${window.address.toString(16)}`);
    this.#windows = [...this.#windows, window];
    return {
      [Symbol.dispose]: () => {
        this.#windows = this.#windows.filter((one) => one !== window);
      },
    };
  }

  readonly #wake = (): void => {
    if (this.#eventFd.clear()) this.counters.wakeups++;
    this.#serve();
  };

  /** Serves what there is, and asks to be woken for the next. */
  readonly #serve = (): void => {
    this.#page.askForWakeup(false);
    do {
      for (let served = 0; this.#page.take(); ) {
        this.#access(this.#page.request);
        if (++served === REQUESTS_A_TURN) return this.loop.soon(this.#serve);
      }
      if (this.#isPolled) return;
      // Full barrier between the two: hvisor publishes a request and then looks whether to wake.
      this.#page.askForWakeup(true);
    } while (this.#page.hasRequest);
  };

  /** Serves requests, up to a turn's share. Returns whether there were any. */
  poll(): boolean {
    let served = 0;
    while (served < REQUESTS_A_TURN && this.#page.take()) {
      this.#access(this.#page.request);
      served++;
    }
    return served > 0;
  }

  suppress(): void {
    this.#isPolled = true;
    this.#page.askForWakeup(false);
  }

  rearm(): boolean {
    this.#isPolled = false;
    this.#page.askForWakeup(true);
    if (!this.#page.hasRequest) return false;
    this.loop.soon(this.#serve);
    return true;
  }

  #access(request: BridgeRequest): void {
    this.counters.requests++;
    const { cpu, zone, address, sizeBytes, isWrite, isAsynchronous } = request;
    const window = this.#windowAt(zone, address, sizeBytes);
    if (window === undefined) return this.#unmatched(request);
    const offset = address - window.address;
    if (!isWrite) {
      const value = window.registers.read(offset, sizeBytes);
      if (!isAsynchronous) this.#answer(cpu, cut(value, sizeBytes));
      return;
    }
    const done = window.registers.write(offset, sizeBytes, cut(request.value, sizeBytes));
    if (isAsynchronous) return;
    if (done === undefined) this.#answer(cpu, 0);
    else {
      const answer = (): void => this.#answer(cpu, 0);
      void done.then(answer, answer);
    }
  }

  /** A driver may only make accesses of 1, 2 and 4 bytes (§4.2.2.2): a larger one meets no register. */
  #windowAt(zone: number, address: number, sizeBytes: number): BridgeWindow | undefined {
    if (sizeBytes !== 4 && sizeBytes !== 2 && sizeBytes !== 1) return undefined;
    return this.#windows.find(
      (one) => one.zone === zone && address >= one.address && address + sizeBytes <= one.address + one.sizeBytes,
    );
  }

  #unmatched({ cpu, zone, address, sizeBytes, isAsynchronous }: BridgeRequest): void {
    this.counters.unmatched++;
    this.#log(`zone ${zone}: no register of ${sizeBytes} bytes is at 0x${address.toString(16)}: it reads as 0`);
    if (!isAsynchronous) this.#answer(cpu, 0);
  }

  #answer(cpu: number, value: number): void {
    if (this.#resources.disposed) return;
    this.counters.answers++;
    if (!this.#page.answer(cpu, value)) this.#log(`a request names CPU ${cpu}, which hvisor cannot have`);
  }

  /** Has hvisor inject an interrupt into a zone, with all others of this turn of the loop. */
  inject(zone: number, irq: number): void {
    if (this.#held.size > 0 || !this.#push(zone, irq)) return this.#hold(zone, irq);
    this.loop.soon(this.#finish, { isSettled: true });
  }

  #push(zone: number, irq: number): boolean {
    if (!this.#page.pushResult(zone, irq)) {
      this.#finish();
      if (!this.#page.pushResult(zone, irq)) return false;
    }
    this.counters.injected++;
    return true;
  }

  readonly #finish = (): void => {
    try {
      if (!this.#resources.disposed) this.#port.finish();
    } catch (problem) {
      this.#log((problem as Error).message);
    }
  };

  /** hvisor takes results when FINISH_REQ tells it to: the ring is only full for as long as that fails. */
  #hold(zone: number, irq: number): void {
    this.counters.heldBack++;
    this.#held.set(`${zone}/${irq}`, [zone, irq]);
    this.#heldTimer ??= this.loop.timer(FULL_MS, this.#offerHeld);
  }

  readonly #offerHeld = (): void => {
    this.#heldTimer = undefined;
    for (const [key, [zone, irq]] of this.#held) {
      if (!this.#push(zone, irq)) break;
      this.#held.delete(key);
    }
    this.#finish();
    if (this.#held.size > 0) this.#heldTimer = this.loop.timer(FULL_MS, this.#offerHeld);
  };

  /** Takes no more requests. The caller has closed the devices. A CPU that accesses one from now on waits for ever. */
  [Symbol.dispose](): void {
    this.#heldTimer?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}

/** The low `sizeBytes` of a value, zero-extended: the rest of the register may hold anything. */
function cut(value: number, sizeBytes: number): number {
  return sizeBytes === 4 ? value >>> 0 : value & (2 ** (8 * sizeBytes) - 1);
}
