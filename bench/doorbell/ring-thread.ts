// bench/doorbell: one guest on a thread of its own, and its eventfd; it sleeps between its runs.
import { once } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { EventFd, VcpuThread } from '../../src/kvm/index.ts';
import { moduleBeside } from '../../src/sys/thread.ts';
import type { PayloadGuest } from '../../src/testing/payload-guest.ts';
import type { RingRun, RingSetup } from './ring-program.ts';

const PROGRAM = moduleBeside('./ring-program', import.meta.url);

export class RingThread implements AsyncDisposable {
  readonly bell: EventFd;
  readonly guest: PayloadGuest;
  readonly #thread: VcpuThread;
  readonly #runs: MessagePort;

  private constructor(guest: PayloadGuest, bell: EventFd, thread: VcpuThread, runs: MessagePort) {
    this.guest = guest;
    this.bell = bell;
    this.#thread = thread;
    this.#runs = runs;
  }

  /** Takes over the guest, whose payload has a label `sleep`. Calls `prepare` with the eventfd before it runs. */
  static async start(guest: PayloadGuest, cpu: number, prepare: (bell: EventFd) => void): Promise<RingThread> {
    const bell = EventFd.create();
    prepare(bell);
    guest.start({}, 'sleep');
    const { port1, port2 } = new MessageChannel();
    const data: RingSetup = { bellFd: bell.fd, runs: port2 };
    const thread = await VcpuThread.start(guest.vcpu, { program: PROGRAM, data, ports: [port2], cpu });
    return new RingThread(guest, bell, thread, port1);
  }

  /** Runs the guest from `label` (default: its first instruction) with ecx = `rings`. Does not wait for a result. */
  async go(rings: number, label?: string): Promise<void> {
    await this.#thread.pause();
    this.guest.start({ rcx: BigInt(rings) }, label);
    this.#thread.resume();
  }

  /** Runs the guest for `rings` rings; returns the cost. Rejects with the error of the thread. */
  async run(rings: number): Promise<RingRun> {
    const done = once(this.#runs, 'message') as Promise<[RingRun]>;
    await this.go(rings);
    const failed = this.#thread.ended.then(() => Promise.reject(new Error('the vCPU’s thread ended early')));
    const [run] = await Promise.race([done, failed]);
    return run;
  }

  /** Stops thread and guest. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread.stop().catch(() => {});
    this.#runs.close();
    this.guest[Symbol.dispose]();
    this.bell[Symbol.dispose]();
  }
}
