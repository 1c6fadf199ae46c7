// daemon: the main thread's handle of one serving thread: starts it, sends orders and questions, sees its end.
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { isParked } from '../sys/bus-error.ts';
import { EventFd } from '../sys/event-fd.ts';
import type { Log } from '../virtio/log.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceProfile } from './open-device.ts';
import type { FromThread, ServingThreadSetup, ToThread } from './serving-thread.ts';
import type { ServingModule, SpareThreads } from './spare-threads.ts';
import type { CounterMemory } from './thread-counters.ts';
import { LinkSender } from './thread-link.ts';

export interface ServingWorkerOptions {
  readonly file: ServingModule;
  /** Where the thread comes from. */
  readonly spares: SpareThreads;
  /** Makes the thread's setup around its link to this thread. */
  readonly setup: (main: ServingThreadSetup['main']) => ServingThreadSetup;
  /** Ports in `setup`, which are transferred to the thread. */
  readonly ports: readonly MessagePort[];
  readonly log: Log;
}

export class ServingWorker {
  /** Rejects with what the device threw. */
  readonly ready: Promise<DeviceProfile>;
  /** The last totals. Rejects when the thread failed. */
  readonly closed: Promise<DeviceSnapshot>;
  readonly exited: Promise<void>;
  readonly #wake = EventFd.create();
  readonly #port: MessagePort;
  readonly #sender: LinkSender<ToThread>;
  readonly #log: Log;
  readonly #ready = Promise.withResolvers<DeviceProfile>();
  readonly #closed = Promise.withResolvers<DeviceSnapshot>();
  readonly #exited = Promise.withResolvers<void>();
  /** Resolvers of open questions. A thread answers in the order in which it was asked. */
  readonly #waiting: ((answer: FromThread) => void)[] = [];
  /** The kernel's thread id (gettid), once the thread has started. */
  #threadId: number | undefined;
  #counters: CounterMemory | undefined;
  #isReleased = false;

  constructor({ file, spares, setup, ports, log }: ServingWorkerOptions) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#log = log;
    this.#sender = new LinkSender<ToThread>(port1, this.#wake.fd);
    this.ready = this.#ready.promise;
    this.closed = this.#closed.promise;
    this.exited = this.#exited.promise;
    // The daemon's own `closed` reports the failure.
    this.ready.catch(() => {});
    this.closed.catch(() => {});
    port1.on('message', this.#onMessage);
    const worker = spares.take(file, setup({ port: port2, wakeFd: this.#wake.fd }), [port2, ...ports]);
    this.#watch(worker, file);
  }

  #watch(worker: Worker, file: string): void {
    worker.once('error', (error) => {
      this.#ready.reject(error);
      this.#closed.reject(error);
    });
    worker.once('exit', () => {
      // The exit event can come before the thread's last messages.
      for (let last = receiveMessageOnPort(this.#port); last; last = receiveMessageOnPort(this.#port))
        this.#onMessage(last.message);
      this.#port.close();
      this.#closed.reject(new Error(`${file} ended before it was told to`));
      this.#exited.resolve();
    });
  }

  readonly #onMessage = (message: FromThread): void => {
    switch (message.type) {
      case 'log':
        return this.#log(message.line, message.about);
      case 'ready':
        this.#counters = message.counters;
        return this.#ready.resolve(message.profile);
      case 'started':
        this.#threadId = message.thread;
        return;
      case 'closed':
        return this.#closed.resolve(message.snapshot);
      default:
        this.#waiting.shift()?.(message);
    }
  };

  /** Whether it is parked for ever after SIGBUS in memory that another program took away. */
  get isParked(): boolean {
    return this.#threadId !== undefined && isParked(this.#threadId);
  }

  /** What it counts, once it is ready. */
  get counters(): CounterMemory | undefined {
    return this.#counters;
  }

  /** The kernel's thread id (gettid), once the thread has started. */
  get threadId(): number | undefined {
    return this.#threadId;
  }

  /** Sends a message to the thread; ignored after `release`. */
  order(order: ToThread): void {
    // After `release` the eventfd is closed, and its number may belong to another file.
    if (!this.#isReleased) this.#sender.send(order);
  }

  /** Resolves to the answer, or to undefined if the thread exits first. */
  ask(question: 'snapshot' | 'report'): Promise<FromThread | undefined> {
    const { promise, resolve } = Promise.withResolvers<FromThread>();
    this.#waiting.push(resolve);
    this.order(question);
    return Promise.race([promise, this.exited.then(() => undefined)]);
  }

  /** Closes the eventfd that wakes the thread. Only when the thread has exited, or never will. */
  release(): void {
    this.#isReleased = true;
    this.#wake[Symbol.dispose]();
  }
}
