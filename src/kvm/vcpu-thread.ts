// kvm: the main thread's side of a vCPU thread: starts, pauses, resumes and stops it.
import type { MessagePort } from 'node:worker_threads';
import { SpareThread } from './spare-thread.ts';
import type { Vcpu } from './vcpu.ts';
import { OBEYED, ORDER, PAUSE, RUN, STOP, type VcpuThreadMessage, type VcpuThreadSetup } from './vcpu-words.ts';

/** Handles exits on the vCPU's thread, except KVM_EXIT_INTR. Made there by the program. */
export interface VcpuHandler {
  /** Handles one exit: `reason` is KVM_EXIT_…, details are in `vcpu.exits`. Returning false ends the thread. */
  onExit(reason: number): boolean;
  /** The value for `VcpuThread.ended`, structured-cloneable. Called after the guest's last instruction. */
  result?(): unknown;
}

/** The type of `vcpuProgram`, which the module of a vCPU thread exports. */
export type VcpuProgram = (vcpu: Vcpu, data: never) => VcpuHandler;

/** Options of a vCPU thread. */
export interface VcpuThreadOptions {
  /** The module with `vcpuProgram`, or a spare thread that loads it. */
  readonly program: URL | SpareThread;
  /** Passed to the program, structured-cloned. */
  readonly data?: unknown;
  /** Ports in `data`, which are transferred. */
  readonly ports?: readonly MessagePort[];
  /** The processor to pin the thread to. Default: none. */
  readonly cpu?: number;
}

// Node waits for its threads at exit, and these may be in KVM_RUN for ever: stop them.
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
  /** Resolves to the handler's `result` when the thread has exited; rejects with what the program threw. */
  readonly ended: Promise<unknown>;
  readonly #vcpu: Vcpu;
  readonly #control = new Int32Array(new SharedArrayBuffer(8));
  readonly #ready = Promise.withResolvers<number>();
  #thread: number | undefined;

  /** The caller keeps the vCPU, and disposes it after `ended`. */
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

  /** Starts the guest. Rejects with what the program threw before that. */
  static async start(vcpu: Vcpu, options: VcpuThreadOptions): Promise<VcpuThread> {
    const thread = new VcpuThread(vcpu, options);
    thread.#thread = await thread.#ready.promise;
    return thread;
  }

  /**
   * Pauses the guest. Resolves when it executes no instruction and its last exit is handled, or the thread has exited.
   */
  async pause(): Promise<void> {
    const order = this.#order(PAUSE);
    for (;;) {
      const obeyed = Atomics.load(this.#control, OBEYED);
      if (obeyed >= order || this.#thread === undefined) return;
      await Promise.race([Atomics.waitAsync(this.#control, OBEYED, obeyed).value, this.ended]);
    }
  }

  /** Resumes the guest. */
  resume(): void {
    this.#order(RUN);
  }

  /** Stops the thread; returns `ended`. */
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
