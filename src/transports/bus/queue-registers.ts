// Ground floor: one queue as a driver sets it up through registers: its size and addresses, its doorbell, and who runs it.
//
// How the machine of host-notifier.ts is used here. `open` makes the kick eventfd, `register` puts it behind the doorbell, `attach` starts
// the queue on its QueueHost, which watches that eventfd itself. A QueueHost's stop takes as long as its requests in flight, and the
// machine does not wait: so the host is stopped first, the kernel still counting, and the machine is told after. Then there is nothing to
// detach, and `drain` only empties the eventfd: its request is in the ring, where whoever starts next looks at once (`QueueHost.start`).

import { type Grab, HostNotifier, type NotifierPort } from '../../notify/host-notifier.ts';
import type { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import { QUEUE_SIZE_MAX } from '../../virtio/spec.ts';
import type { QueueHost, QueueSetup } from '../queue/queue-host.ts';
import { KickLine } from './kick-line.ts';

/** What a queue needs of its transport. */
export interface QueueLines {
  /** Has a write to the queue's doorbell ring the eventfd, until disposed. Throws SystemError where the kernel will not. */
  assignDoorbell(queue: number, eventFd: EventFd): Disposable;
  /** Where a host calls when the queue has completions; undefined: nowhere. */
  callFd(queue: number): number | undefined;
  /** Tells the user one line. */
  say(line: string): void;
}

/** The three parts of a ring, and how they are aligned, §2.7. */
export const RING_PARTS = { descriptorTable: 16, availableRing: 2, usedRing: 4 } as const;
export type RingPart = keyof typeof RING_PARTS;

export interface TransportQueueOptions {
  readonly index: number;
  readonly sizeMax: number;
  readonly host: QueueHost;
  readonly loop: EventLoop;
  readonly lines: QueueLines;
  /** Rung by a host whose queue broke. */
  readonly errFd: number;
}

export class TransportQueue {
  readonly index: number;
  /** The largest size a driver may choose: a power of two. */
  readonly sizeMax: number;
  readonly #home: QueueHost;
  readonly #lines: QueueLines;
  readonly #errFd: number;
  readonly #newKick: () => KickLine;
  readonly #notifier: HostNotifier;
  #host: QueueHost;
  #kick: KickLine | undefined;
  #grab: Grab | undefined;
  #begun: Promise<Error | undefined> = Promise.resolve(undefined);
  #runs = false;
  #broken = false;
  #features = 0n;
  #base = 0;
  #size: number;
  #ready = false;
  readonly #addresses = { descriptorTable: [0, 0], availableRing: [0, 0], usedRing: [0, 0] };

  constructor({ index, sizeMax, host, loop, lines, errFd }: TransportQueueOptions) {
    this.index = index;
    this.sizeMax = 2 ** Math.floor(Math.log2(Math.min(sizeMax, QUEUE_SIZE_MAX)));
    this.#home = this.#host = host;
    this.#lines = lines;
    this.#errFd = errFd;
    this.#size = this.sizeMax;
    const assign = (eventFd: EventFd): Disposable => lines.assignDoorbell(index, eventFd);
    this.#newKick = () => new KickLine(loop, assign, () => this.kick());
    this.#notifier = new HostNotifier(this.#port());
  }

  /** What the driver chose, `sizeMax` before it does; 0 after it chose what is no size. */
  get size(): number {
    return this.#size;
  }

  /** A size of a queue is a power of two, §2.7. A ready queue keeps its own. */
  set size(size: number) {
    if (this.#ready) return;
    this.#size = size <= this.sizeMax && Number.isInteger(Math.log2(size)) ? size : 0;
  }

  /** Half of the guest address of a part: 0 the low word, 1 the high one. */
  addressWord(part: RingPart, half: 0 | 1): number {
    return this.#addresses[part][half] as number;
  }

  /** A ready queue keeps its own. */
  setAddressWord(part: RingPart, half: 0 | 1, word: number): void {
    if (!this.#ready) this.#addresses[part][half] = word;
  }

  #address(part: RingPart): number {
    return this.addressWord(part, 1) * 2 ** 32 + this.addressWord(part, 0);
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** The driver is done with its set-up. Gives the rule it broke, if it broke one; the queue is then not ready. */
  makeReady(): string | undefined {
    if (this.#size === 0) return `its size is to be a power of two up to ${this.sizeMax} (VIRTIO 1.3 §2.7)`;
    for (const part of ['descriptorTable', 'availableRing', 'usedRing'] as const) {
      const alignment = RING_PARTS[part];
      if (this.addressWord(part, 0) % alignment === 0) continue;
      return `its ${part} is at 0x${this.#address(part).toString(16)}, to be aligned to ${alignment} (VIRTIO 1.3 §2.7)`;
    }
    this.#ready = true;
    return undefined;
  }

  /** A write to the doorbell that left the guest. */
  kick(): void {
    this.#notifier.kick();
  }

  /** Whether a host serves it. */
  get runs(): boolean {
    return this.#runs;
  }

  /** Runs it on the host it is with. Gives why that is not possible. */
  async start(features: bigint): Promise<Error | undefined> {
    this.#features = features;
    try {
      this.#notifier.start(); // where nobody has it grabbed, this attaches
      if (this.#grab !== undefined) this.#lend(this.#grab);
    } catch (problem) {
      return problem as Error;
    }
    return this.#begun;
  }

  /** When this is fulfilled nothing in flight touches guest memory, and nobody hears the doorbell. */
  async stop(): Promise<void> {
    await this.#halt();
    this.#grab?.reclaim();
    this.#notifier.stop();
  }

  /** Stops it, and forgets what the driver said of it. Whose it is stays. */
  async reset(): Promise<void> {
    await this.stop();
    this.#notifier.reset();
  }

  /** Takes it from the host it is with, doorbell and all. `goTo` follows. */
  async leave(): Promise<void> {
    await this.#halt();
    this.#grab?.reclaim();
    this.#grab ??= this.#notifier.grab();
  }

  /** Gives it to a host; begins there if it ran when it left. Gives why that is not possible. */
  async goTo(host: QueueHost): Promise<Error | undefined> {
    this.#host = host;
    const wanted = this.#notifier.state === 'grabbedWanted';
    try {
      if (host === this.#home) {
        this.#grab?.[Symbol.dispose](); // where it was wanted, this attaches
        this.#grab = undefined;
      } else if (wanted) this.#lend(this.#grab as Grab);
    } catch (problem) {
      return problem as Error;
    }
    return wanted ? this.#begun : undefined;
  }

  /** The transport's `callFd` gives another descriptor from now on. */
  changeCall(): void {
    if (this.#runs) this.#host.setCall(this.index, this.#lines.callFd(this.index), () => {});
  }

  #lend(grab: Grab): void {
    const kick = this.#newKick();
    grab.lend(kick);
    this.#begun = this.#run(kick);
  }

  #run(kick: KickLine): Promise<Error | undefined> {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    if (this.#broken) resolve(undefined);
    else {
      const setup = this.#setup(kick.eventFd.fd);
      this.#host.start(this.index, setup, (problem) => {
        this.#runs = problem === undefined;
        if (this.#lines.callFd(this.index) !== setup.callFd) this.changeCall();
        resolve(problem);
      });
    }
    return promise;
  }

  #setup(kickFd: number): QueueSetup {
    return {
      size: this.#size,
      base: this.#base,
      features: this.#features,
      descriptorTable: this.#address('descriptorTable'),
      availableRing: this.#address('availableRing'),
      usedRing: this.#address('usedRing'),
      kickFd,
      callFd: this.#lines.callFd(this.index),
      errFd: this.#errFd,
    };
  }

  #halt(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (!this.#runs) resolve();
    else {
      this.#host.stop(this.index, (base, broken) => {
        this.#runs = false;
        this.#base = base;
        this.#broken ||= broken;
        resolve();
      });
    }
    return promise;
  }

  #clear(): void {
    this.#base = 0;
    this.#size = this.sizeMax;
    this.#ready = this.#broken = false;
    for (const words of Object.values(this.#addresses)) words.fill(0);
  }

  #port(): NotifierPort {
    const kick = (): KickLine => this.#kick as KickLine;
    return {
      open: () => {
        this.#kick = this.#newKick();
      },
      register: () => kick().register(),
      unregister: () => kick().unregister(),
      attach: () => {
        this.#begun = this.#run(kick());
      },
      detach: () => {},
      ring: () => kick().ring(),
      drain: () => kick().drain(),
      close: () => kick().close(),
      keep: () => kick().keep(),
      clear: () => this.#clear(),
      say: (line) => this.#lines.say(`queue ${this.index}: ${line}`),
    };
  }
}
