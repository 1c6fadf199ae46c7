// Upper floor: a device served by threads of its own. The main thread starts them, gives them orders, collects what they tell.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { EventFd } from '../sys/event-fd.ts';
import { moduleBeside, startThread } from '../sys/thread.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { Log } from '../virtio/log.ts';
import { addSnapshots, type DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceSource } from './device-source.ts';
import type { DeviceThreadSetup } from './device-thread.ts';
import type { PollMode } from './poll-mode.ts';
import { newProcessEnd, type ProcessEnd, takeProcessEnd } from './process-end.ts';
import type { QueueThreadSetup } from './queue-thread.ts';
import type { ServedDevice } from './served-device.ts';
import type { FromThread, ServingThreadSetup, ToThread } from './serving-thread.ts';
import { LinkSender } from './thread-link.ts';

export interface DeviceDaemonOptions {
  readonly device: DeviceSource;
  /** Stays the caller's, who disposes it after `closed`. */
  readonly listener: UnixListener;
  readonly threads: number;
  readonly poll: PollMode;
  readonly once: boolean;
  /**
   * The process is there for this device: SIGTERM and SIGINT stop it while the main thread is busy too, and then end the process, exit
   * code 0. Otherwise signals are the caller's business.
   */
  readonly ownsProcess?: boolean;
  /** Processors for the threads, in turn. */
  readonly cpus?: readonly number[];
  /** One line for each thing that went wrong, or waits. */
  readonly log: Log;
  /** One line for each thing that went right. Not told unless wanted. */
  readonly tell?: (line: string) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly sender: LinkSender<ToThread>;
  readonly ready: Promise<void>;
  readonly closed: Promise<DeviceSnapshot>;
  readonly exited: Promise<void>;
  /** What to do with the answers to questions for a snapshot or a report, in order: a thread answers in that order. */
  readonly waiting: ((answer: FromThread) => void)[];
}

export class DeviceDaemon implements ServedDevice {
  readonly latency: RecordableHistogram = createHistogram();
  readonly closed: Promise<DeviceSnapshot>;
  readonly #options: DeviceDaemonOptions;
  readonly #eventFds: EventFd[] = [];
  readonly #queueThreads: readonly Thread[];
  readonly #deviceThread: Thread;
  readonly #processEnd: ProcessEnd | undefined;
  #ended = false;

  constructor(options: DeviceDaemonOptions) {
    this.#options = options;
    this.#processEnd = options.ownsProcess ? newProcessEnd(options.listener.path) : undefined;
    const links = Array.from({ length: options.threads - 1 }, () => {
      const { port1, port2 } = new MessageChannel();
      return { calls: { port: port1, wakeFd: this.#eventFd() }, answers: { port: port2, wakeFd: this.#eventFd() } };
    });
    this.#queueThreads = links.map(({ calls, answers }, i) =>
      this.#start(
        'queue-thread',
        i + 1,
        [calls.port],
        (common): QueueThreadSetup => ({ ...common, calls, answersWakeFd: answers.wakeFd }),
      ),
    );
    const others = links.map(({ calls, answers }) => ({ answers, callsWakeFd: calls.wakeFd }));
    this.#deviceThread = this.#start(
      'device-thread',
      0,
      others.map(({ answers }) => answers.port),
      (common): DeviceThreadSetup => ({
        ...common,
        listenFd: options.listener.fd,
        once: options.once,
        processEnd: this.#processEnd,
        queueThreads: others,
      }),
    );
    this.closed = this.#whenClosed();
    // Told by `ready` too, which is asked first.
    this.closed.catch(() => {});
  }

  #eventFd(): number {
    const eventFd = EventFd.create();
    this.#eventFds.push(eventFd);
    return eventFd.fd;
  }

  #start(
    file: string,
    index: number,
    ports: readonly MessagePort[],
    setupOf: (common: ServingThreadSetup) => ServingThreadSetup,
  ): Thread {
    const { device, poll, cpus, log, tell } = this.#options;
    const { port1, port2 } = new MessageChannel();
    const wakeFd = this.#eventFd();
    const common = {
      device,
      poll,
      cpu: cpus?.[index % cpus.length],
      latency: this.latency,
      main: { port: port2, wakeFd },
    };
    const worker = startThread(moduleBeside(`./${file}`, import.meta.url), {
      workerData: setupOf(common),
      transferList: [port2, ...ports],
    });
    const ready = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<DeviceSnapshot>();
    const exited = Promise.withResolvers<void>();
    const thread: Thread = {
      worker,
      sender: new LinkSender<ToThread>(port1, wakeFd),
      ready: ready.promise,
      closed: closed.promise,
      exited: exited.promise,
      waiting: [],
    };
    const onMessage = (message: FromThread): void => {
      if (message.type === 'log') return log(message.line);
      if (message.type === 'tell') return tell?.(message.line);
      if (message.type === 'ready') return ready.resolve();
      if (message.type === 'closed') return closed.resolve(message.snapshot);
      thread.waiting.shift()?.(message);
    };
    port1.on('message', onMessage);
    worker.once('error', (error) => {
      ready.reject(error);
      closed.reject(error);
    });
    worker.once('exit', () => {
      // A thread's end can be told before its last messages are.
      for (let last = receiveMessageOnPort(port1); last; last = receiveMessageOnPort(port1)) onMessage(last.message);
      port1.close();
      closed.reject(new Error(`${file} ended before it was told to`));
      exited.resolve();
    });
    // A thread's death is told once, by `closed`.
    ready.promise.catch(() => {});
    closed.promise.catch(() => {});
    return thread;
  }

  get #threads(): readonly Thread[] {
    return [this.#deviceThread, ...this.#queueThreads];
  }

  /** Fulfilled when every thread serves. */
  async ready(): Promise<void> {
    await Promise.all(this.#threads.map(({ ready }) => ready));
  }

  async #whenClosed(): Promise<DeviceSnapshot> {
    try {
      const last = await Promise.all(this.#threads.map(({ closed }) => closed));
      // The device's thread does not wait for ever.
      if (this.#processEnd !== undefined && !takeProcessEnd(this.#processEnd)) await new Promise(() => {});
      return addSnapshots(last);
    } catch (error) {
      if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
      // A device of which a part is dead would keep its guests waiting, and this process.
      this.#order('abandon', this.#threads);
      throw error;
    } finally {
      await Promise.all(this.#threads.map(({ exited }) => exited));
      this.#ended = true;
      for (const eventFd of this.#eventFds) eventFd[Symbol.dispose]();
    }
  }

  #order(order: ToThread, threads: readonly Thread[]): void {
    // Afterwards the descriptors are closed, and their numbers may be somebody else's.
    if (!this.#ended) for (const { sender } of threads) sender.send(order);
  }

  stop(): void {
    if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
    this.#order('stop', [this.#deviceThread]);
  }

  refresh(): void {
    this.#order('refresh', [this.#deviceThread]);
  }

  /** Has every thread answer a question; one that has ended meanwhile gives `undefined`. */
  #ask(question: 'snapshot' | 'report'): Promise<(FromThread | undefined)[]> {
    const answers = this.#threads.map((thread) => {
      const { promise, resolve } = Promise.withResolvers<FromThread>();
      thread.waiting.push(resolve);
      this.#order(question, [thread]);
      return Promise.race([promise, thread.exited.then(() => undefined)]);
    });
    return Promise.all(answers);
  }

  /** What has been served so far, over all threads. */
  async snapshot(): Promise<DeviceSnapshot> {
    const answers = await this.#ask('snapshot');
    if (answers.includes(undefined)) return this.closed;
    return addSnapshots(answers.flatMap((answer) => (answer?.type === 'snapshot' ? [answer.snapshot] : [])));
  }

  async report(): Promise<readonly QueueReport[]> {
    const answers = await this.#ask('report');
    return answers
      .flatMap((answer) => (answer?.type === 'report' ? answer.queues : []))
      .sort((a, b) => a.queue - b.queue);
  }
}
