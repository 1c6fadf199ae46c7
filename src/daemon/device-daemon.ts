// Upper floor: a device served by threads of its own. The main thread starts them, gives them orders, collects what they tell.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { dieOnBusError, isParked } from '../sys/bus-error.ts';
import { EventFd } from '../sys/event-fd.ts';
import { moduleBeside, startThread } from '../sys/thread.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { Log } from '../virtio/log.ts';
import { addSnapshots, type DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceProfile, DeviceSource } from './device-source.ts';
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
  /** Guest memory may be a file of any file system, whose server can then hold a thread for ever in a page fault. */
  readonly allowFileMemory?: boolean;
  /**
   * The process is there for this device: SIGTERM and SIGINT stop it while the main thread is busy too, and then end the process, exit
   * code 0; the kernel ends it some seconds after so many of grace, whatever waits. Otherwise signals are the caller's business.
   */
  readonly processGraceSeconds?: number;
  /** Processors for the threads, in turn. */
  readonly cpus?: readonly number[];
  /** One line for each thing a person should know. */
  readonly log: Log;
}

interface Thread {
  readonly worker: Worker;
  readonly sender: LinkSender<ToThread>;
  readonly ready: Promise<DeviceProfile>;
  readonly closed: Promise<DeviceSnapshot>;
  readonly exited: Promise<void>;
  /** Its number in the kernel, when it has started. */
  id: number | undefined;
  /** What to do with the answers to questions for a snapshot or a report, in order: a thread answers in that order. */
  readonly waiting: ((answer: FromThread) => void)[];
}

/** How often it is looked whether a thread lost its memory. */
const LOOK_MS = 500;
/** How long the threads of a device that lost one of them may take to end. */
const EXIT_MS = 1000;

/** Memory that a front end shared was truncated while it was used. */
export class MemoryLostError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_MEMORY_LOST';

  constructor() {
    super('the front end took back memory that it had shared: it made the file shorter, or the file system is full');
    this.name = 'MemoryLostError';
  }
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
  #isLost = false;
  #look: NodeJS.Timeout | undefined;

  constructor(options: DeviceDaemonOptions) {
    this.#options = options;
    const { processGraceSeconds, listener } = options;
    this.#processEnd =
      processGraceSeconds === undefined ? undefined : newProcessEnd(listener.file, processGraceSeconds);
    // A thread that touches memory which its front end took back sleeps, and is found; this one would not be.
    dieOnBusError();
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
        allowFileMemory: options.allowFileMemory ?? false,
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
    const { device, poll, cpus, log } = this.#options;
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
    const ready = Promise.withResolvers<DeviceProfile>();
    const closed = Promise.withResolvers<DeviceSnapshot>();
    const exited = Promise.withResolvers<void>();
    const thread: Thread = {
      worker,
      sender: new LinkSender<ToThread>(port1, wakeFd),
      ready: ready.promise,
      closed: closed.promise,
      exited: exited.promise,
      id: undefined,
      waiting: [],
    };
    const onMessage = (message: FromThread): void => {
      if (message.type === 'log') return log(message.line, message.about);
      if (message.type === 'ready') return ready.resolve(message.profile);
      if (message.type === 'started') {
        thread.id = message.thread;
        return;
      }
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
  async ready(): Promise<DeviceProfile> {
    const [profile] = await Promise.all(this.#threads.map(({ ready }) => ready));
    return profile as DeviceProfile;
  }

  async #whenClosed(): Promise<DeviceSnapshot> {
    try {
      const last = await Promise.race([Promise.all(this.#threads.map(({ closed }) => closed)), this.#memoryLoss()]);
      // The device's thread does not wait for ever.
      if (this.#processEnd !== undefined && !takeProcessEnd(this.#processEnd)) await new Promise(() => {});
      return addSnapshots(last);
    } catch (error) {
      if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
      // A device of which a part is dead would keep its guests waiting, and this process.
      this.#order('abandon', this.#threads);
      throw error;
    } finally {
      clearInterval(this.#look);
      await this.#threadsEnd();
    }
  }

  /** A thread that cannot end keeps its descriptors. */
  async #threadsEnd(): Promise<void> {
    const ended = Promise.all(this.#threads.map(({ exited }) => exited)).then(() => true);
    if (!(await Promise.race([ended, sleep(EXIT_MS, false, { ref: false })])) && this.#isLost) return;
    await ended;
    this.#ended = true;
    for (const eventFd of this.#eventFds) eventFd[Symbol.dispose]();
  }

  /** Rejects when a thread sleeps for ever in memory that its front end took back. */
  #memoryLoss(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    const look = (): void => {
      const lost = this.#threads.find(({ id }) => id !== undefined && isParked(id));
      if (lost === undefined) return;
      this.#isLost = true;
      reject(new MemoryLostError());
    };
    this.#look = setInterval(look, LOOK_MS);
    this.#look.unref();
    return promise;
  }

  #order(order: ToThread, threads: readonly Thread[]): void {
    // Afterwards the descriptors are closed, and their numbers may be somebody else's.
    if (!this.#ended) for (const { sender } of threads) sender.send(order);
  }

  close(): Promise<DeviceSnapshot> {
    if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
    this.#order('stop', [this.#deviceThread]);
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
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
