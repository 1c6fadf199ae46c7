// bench/doorbell: starts and stops the listening thread.
import { once } from 'node:events';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { LinkSender } from '../../src/daemon/thread-link.ts';
import { EventFd } from '../../src/kvm/index.ts';
import { moduleBeside, startThread } from '../../src/sys/thread.ts';
import type { Heard, ListenerCall, ListenerKind, ListenerSetup } from './listener-worker.ts';

const WORKER = moduleBeside('./listener-worker', import.meta.url);

export class Listener implements AsyncDisposable {
  readonly #wake = EventFd.create();
  readonly #port: MessagePort;
  readonly #sender: LinkSender<ListenerCall>;
  readonly #ended: Promise<unknown>;

  constructor(cpu: number) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#sender = new LinkSender(port1, this.#wake.fd);
    const workerData: ListenerSetup = { calls: { port: port2, wakeFd: this.#wake.fd }, cpu };
    const worker = startThread(WORKER, { workerData, transferList: [port2] });
    this.#ended = once(worker, 'exit');
    // An `answer` that is awaited rejects with the same error.
    this.#ended.catch(() => {});
  }

  /** Fulfilled when it listens to `bell`; with the kind `nobody` it does not. */
  async listen(bell: EventFd, kind: ListenerKind): Promise<void> {
    await this.#call({ type: 'listen', fd: bell.fd, kind });
  }

  /** Stops listening; returns what was counted since `listen`. */
  async stop(): Promise<Heard> {
    return await this.#call({ type: 'stop' });
  }

  async #call(call: ListenerCall): Promise<Heard> {
    const answer = once(this.#port, 'message') as Promise<[Heard]>;
    const failed = this.#ended.then(() => Promise.reject(new Error('the listening thread ended early')));
    this.#sender.send(call);
    const [heard] = await Promise.race([answer, failed]);
    return heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sender.send({ type: 'end' });
    await this.#ended.catch(() => {});
    this.#port.close();
    this.#wake[Symbol.dispose]();
  }
}
