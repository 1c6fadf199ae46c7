// bus: one queue as a driver sets it up through registers: size, areas, doorbell, and the host that runs it.
import type { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import { LimitedLog } from '../../sys/limited-log.ts';
import { ringFormatOf } from '../../virtio/negotiated-format.ts';
import type { RingAreas } from '../../virtio/ring-format.ts';
import { QUEUE_SIZE_MAX } from '../../virtio/spec.ts';
import type { CallTarget, QueueHost, QueueSetup } from '../queue/queue-host.ts';
import { Doorbell } from './doorbell.ts';

/** What a queue needs of its transport. */
export interface QueueLines {
  /**
   * Makes writes to the queue's doorbell signal the eventfd, until disposed. Throws SystemError if the kernel refuses.
   */
  assignDoorbell(queue: number, eventFd: EventFd): Disposable;
  /** What the host notifies when the queue has used buffers; undefined: nothing. */
  call(queue: number): CallTarget | undefined;
  /** Logs a line. */
  log(line: string): void;
}

export type RingArea = keyof RingAreas;
const AREAS: readonly RingArea[] = ['descriptorArea', 'driverArea', 'deviceArea'];

export interface QueueRegistersOptions {
  readonly index: number;
  readonly sizeMax: number;
  readonly loop: EventLoop;
  readonly lines: QueueLines;
  /** Signalled by the host when the queue breaks. */
  readonly errFd: number;
}

/** The registers of one queue, and the start and stop of it on a host. */
export class QueueRegisters {
  readonly index: number;
  /** The largest size a driver may choose: a power of two. */
  readonly sizeMax: number;
  readonly #options: QueueRegistersOptions;
  readonly #log: (line: string) => void;
  #ready = false;
  #size: number;
  readonly #words: Record<RingArea, [number, number]> = {
    descriptorArea: [0, 0],
    driverArea: [0, 0],
    deviceArea: [0, 0],
  };
  #base: number | undefined;
  #broken = false;
  /** The host that runs the queue, and its doorbell. */
  #running: { readonly host: QueueHost; readonly doorbell: Doorbell; call: CallTarget | undefined } | undefined;

  constructor(options: QueueRegistersOptions) {
    this.#options = options;
    this.index = options.index;
    this.sizeMax = 2 ** Math.floor(Math.log2(Math.min(options.sizeMax, QUEUE_SIZE_MAX)));
    this.#size = this.sizeMax;
    // Limited, because a driver can start the queue any number of times.
    this.#log = new LimitedLog((line) => options.lines.log(`queue ${options.index}: ${line}`), { burst: 1 }).log;
  }

  /** The size that the driver wrote; before that `sizeMax`, after an invalid one 0. */
  get size(): number {
    return this.#size;
  }

  /** A size is a power of two, §2.7. A ready queue keeps its size. */
  set size(size: number) {
    if (this.#ready) return;
    this.#size = size <= this.sizeMax && ringFormatOf(0n).isSize(size) ? size : 0;
  }

  /** Half of the guest address of an area: 0 is the low word, 1 the high one. */
  addressWord(area: RingArea, half: 0 | 1): number {
    return this.#words[area][half];
  }

  /** A ready queue keeps its addresses. */
  setAddressWord(area: RingArea, half: 0 | 1, word: number): void {
    if (!this.#ready) this.#words[area][half] = word;
  }

  #address(area: RingArea): number {
    return this.addressWord(area, 1) * 2 ** 32 + this.addressWord(area, 0);
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Makes the queue ready. Returns the rule that its set-up breaks, if any; the queue is then not ready. */
  makeReady(features: bigint): string | undefined {
    if (this.#size === 0) return `its size is to be a power of two up to ${this.sizeMax} (VIRTIO 1.3 §2.7)`;
    const { alignment } = ringFormatOf(features);
    const unaligned = AREAS.find((area) => this.addressWord(area, 0) % alignment[area] !== 0);
    if (unaligned !== undefined)
      return `its ${unaligned} is at 0x${this.#address(unaligned).toString(16)}, to be aligned to ${alignment[unaligned]} (VIRTIO 1.3 §2.7)`;
    this.#ready = true;
    return undefined;
  }

  /** Signals the doorbell's eventfd, for a write that caused an exit. Ignored while the queue does not run. */
  kick(): void {
    this.#running?.doorbell.ring();
  }

  /**
   * Starts the queue on `host`, where it stopped last. A broken queue waits for a reset. Rejects when the host cannot
   * run it.
   */
  async start(features: bigint, host: QueueHost): Promise<void> {
    if (this.#running !== undefined || this.#broken) return;
    const { index, loop, lines } = this.#options;
    const doorbell = new Doorbell(loop, {
      assign: (eventFd) => lines.assignDoorbell(index, eventFd),
      lateRing: () => this.kick(),
      log: this.#log,
    });
    const running = { host, doorbell, call: lines.call(index) };
    // A kick that comes while the host starts is not lost: the eventfd counts it.
    this.#running = running;
    try {
      await host.start(index, this.#setup(features, running));
    } catch (problem) {
      this.#running = undefined;
      doorbell.close();
      throw problem;
    }
    await this.changeCall();
  }

  #setup(features: bigint, { doorbell, call }: { doorbell: Doorbell; call: CallTarget | undefined }): QueueSetup {
    return {
      size: this.#size,
      base: this.#base ?? ringFormatOf(features).firstBase,
      features,
      descriptorArea: this.#address('descriptorArea'),
      driverArea: this.#address('driverArea'),
      deviceArea: this.#address('deviceArea'),
      kickFd: doorbell.fd,
      call,
      errFd: this.#options.errFd,
    };
  }

  /**
   * Stops the queue, which can go on later. When it resolves, no request in flight touches guest memory and the
   * doorbell is closed.
   */
  async stop(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    const { base, broken } = await running.host.stop(this.index);
    this.#running = undefined;
    this.#base = base;
    this.#broken ||= broken;
    running.doorbell.close();
  }

  /** Stops the queue, and clears size, areas, readiness and base. */
  async reset(): Promise<void> {
    await this.stop();
    this.#base = undefined;
    this.#size = this.sizeMax;
    this.#ready = this.#broken = false;
    for (const words of Object.values(this.#words)) words.fill(0);
  }

  /** The transport's `call` target changed: passes it to the host. */
  async changeCall(): Promise<void> {
    const running = this.#running;
    const call = this.#options.lines.call(this.index);
    if (running === undefined || isSame(running.call, call)) return;
    running.call = call;
    await running.host.setCall(this.index, call);
  }
}

function isSame(one: CallTarget | undefined, other: CallTarget | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return 'fd' in one && 'fd' in other ? one.fd === other.fd : one === other;
}
