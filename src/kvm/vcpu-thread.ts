// Ground floor: a thread for a vCPU: it sleeps in KVM_RUN, handles exits, and is stopped, paused and resumed from the main thread.
import type { MessagePort } from 'node:worker_threads';
import { SpareThread } from './spare-thread.ts';
import type { Vcpu } from './vcpu.ts';
import { OBEYED, ORDER, PAUSE, RUN, STOP, type VcpuThreadMessage, type VcpuThreadSetup } from './vcpu-words.ts';

/** What runs on the thread: made there by the program, called for every exit but those that the thread itself asked for. */
export interface VcpuHandler {
  /** `reason` is KVM_EXIT_…; the rest is in `vcpu.exits`. False ends the thread. */
  onExit(reason: number): boolean;
  /** What `VcpuThread.ended` gives, structured-cloneable. Asked when the guest runs no more. */
  result?(): unknown;
}

/** A module that exports `vcpuProgram` of this type is a program for a vCPU's thread. */
export type VcpuProgram = (vcpu: Vcpu, data: never) => VcpuHandler;

/** What runs on a vCPU's thread. */
export interface VcpuThreadOptions {
  /** The module with `vcpuProgram`, or a thread that has begun to load it. */
  readonly program: URL | SpareThread;
  /** Given to the program, structured-cloned. */
  readonly data?: unknown;
  /** Ports in `data`: they move to the thread. */
  readonly ports?: readonly MessagePort[];
  /** The processor to stay on. */
  readonly cpu?: number;
}

// A process that ends waits for its threads, and these may sleep for ever.
const running = new Set<() => void>();
process.on('exit', () => {
  for (const end of running) end();
});

/**
 * A thread that runs one vCPU, and is paused, resumed and stopped from the thread that started it.
 *
 * @example
 * const thread = await VcpuThread.start(vcpu, { program: new URL('./my-program.ts', import.meta.url), data: { ram } });
 * await thread.pause();
 * thread.resume();
 * const result = await thread.stop();
 */
export class VcpuThread {
  /** What the program's `result` gave, once the thread is gone; rejected with what it threw. */
  readonly ended: Promise<unknown>;
  readonly #vcpu: Vcpu;
  readonly #control = new Int32Array(new SharedArrayBuffer(8));
  readonly #ready = Promise.withResolvers<number>();
  #thread: number | undefined;

  /** The vCPU stays the caller's: dispose it after `ended`. */
  private constructor(vcpu: Vcpu, { program, data, ports = [], cpu }: VcpuThreadOptions) {
    this.#vcpu = vcpu;
    const setup: VcpuThreadSetup = { vcpu: vcpu.handle, data, cpu, control: this.#control };
    const worker = (program instanceof SpareThread ? program : new SpareThread(program)).take(setup, ports);
    let last: VcpuThreadMessage | undefined;
    worker.on('message', (message: VcpuThreadMessage) => {
      last = message;
      if (message.type === 'ready') this.#ready.resolve(message.thread);
    });
    const end = (): void => void this.#order(STOP);
    running.add(end);
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('exit', () => {
        running.delete(end);
        this.#thread = undefined;
        if (last?.type === 'failed') reject(last.problem);
        else resolve(last?.type === 'ended' ? last.result : undefined);
      });
    });
    this.ended.catch((error) => this.#ready.reject(error));
  }

  /** Starts running the guest. Rejected with what the program threw before it ran. */
  static async start(vcpu: Vcpu, options: VcpuThreadOptions): Promise<VcpuThread> {
    const thread = new VcpuThread(vcpu, options);
    thread.#thread = await thread.#ready.promise;
    return thread;
  }

  /** Fulfilled when no instruction of the guest runs, and every exit that had begun is handled; or the thread is gone. */
  async pause(): Promise<void> {
    const order = this.#order(PAUSE);
    for (;;) {
      const obeyed = Atomics.load(this.#control, OBEYED);
      if (obeyed >= order || this.#thread === undefined) return;
      await Promise.race([Atomics.waitAsync(this.#control, OBEYED, obeyed).value, this.ended]);
    }
  }

  /** The guest goes on. */
  resume(): void {
    this.#order(RUN);
  }

  /** Ends the thread; gives what `ended` gives. */
  stop(): Promise<unknown> {
    this.#order(STOP);
    return this.ended;
  }

  #order(what: number): number {
    const order = (Math.floor(Atomics.load(this.#control, ORDER) / 4) + 1) * 4 + what;
    Atomics.store(this.#control, ORDER, order);
    Atomics.notify(this.#control, ORDER);
    if (what !== RUN && this.#thread !== undefined) this.#vcpu.kick(this.#thread);
    return order;
  }
}
