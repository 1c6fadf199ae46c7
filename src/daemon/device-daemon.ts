// Upper floor: a device served by threads of its own. The main thread starts them, gives them orders, collects what they tell.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { dieOnBusError } from '../sys/bus-error.ts';
import { EventFd } from '../sys/event-fd.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { Log } from '../virtio/log.ts';
import { addSnapshots, type DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceSource } from './device-source.ts';
import type { DeviceThreadSetup } from './device-thread.ts';
import type { DeviceProfile } from './open-device.ts';
import type { PollMode } from './poll-mode.ts';
import { newProcessEnd, type ProcessEnd, takeProcessEnd } from './process-end.ts';
import type { QueueThreadSetup } from './queue-thread.ts';
import type { ServedDevice } from './served-device.ts';
import type { FromThread, ServingThreadSetup } from './serving-thread.ts';
import { ServingWorker } from './serving-worker.ts';
import type { LinkEnd } from './thread-link.ts';

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

/** How often it is looked whether a thread lost its memory. */
const LOOK_MS = 500;
/** How long the threads of a device that lost one of them may take to end. */
const EXIT_MS = 1000;
/** A thread that answers nothing for so long is in its device or store, and is reported as that. */
const ANSWER_MS = 1000;

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
  /** For messages between threads. */
  readonly #eventFds: EventFd[] = [];
  readonly #queueThreads: readonly ServingWorker[];
  readonly #deviceThread: ServingWorker;
  readonly #processEnd: ProcessEnd | undefined;
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
    this.#queueThreads = links.map((link, i) => this.#startQueueThread(link, i + 1));
    this.#deviceThread = this.#startDeviceThread(
      links.map(({ answers, calls }) => ({ answers, callsWakeFd: calls.wakeFd })),
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

  #startQueueThread({ calls, answers }: { calls: LinkEnd; answers: LinkEnd }, index: number): ServingWorker {
    return new ServingWorker({
      file: 'queue-thread',
      ports: [calls.port],
      log: this.#options.log,
      setup: (main): QueueThreadSetup => ({ ...this.#setupOf(index), main, calls, answersWakeFd: answers.wakeFd }),
    });
  }

  #startDeviceThread(queueThreads: DeviceThreadSetup['queueThreads']): ServingWorker {
    const { listener, once, allowFileMemory = false, log } = this.#options;
    return new ServingWorker({
      file: 'device-thread',
      ports: queueThreads.map(({ answers }) => answers.port),
      log,
      setup: (main): DeviceThreadSetup => ({
        ...this.#setupOf(0),
        ...{ main, listenFd: listener.fd, once, allowFileMemory, processEnd: this.#processEnd, queueThreads },
      }),
    });
  }

  #setupOf(index: number): Omit<ServingThreadSetup, 'main'> {
    const { device, poll, cpus } = this.#options;
    return { device, poll, cpu: cpus?.[index % cpus.length], latency: this.latency };
  }

  get #threads(): readonly ServingWorker[] {
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
      for (const thread of this.#threads) thread.order('abandon');
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
    for (const thread of this.#threads) thread.release();
    for (const eventFd of this.#eventFds) eventFd[Symbol.dispose]();
  }

  /** Rejects when a thread sleeps for ever in memory that its front end took back. */
  #memoryLoss(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    const look = (): void => {
      if (!this.#threads.some(({ isParked }) => isParked)) return;
      this.#isLost = true;
      reject(new MemoryLostError());
    };
    this.#look = setInterval(look, LOOK_MS);
    this.#look.unref();
    return promise;
  }

  close(): Promise<DeviceSnapshot> {
    if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
    this.#deviceThread.order('stop');
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  refresh(): void {
    this.#deviceThread.order('refresh');
  }

  /** What has been served so far, over all threads. */
  async snapshot(): Promise<DeviceSnapshot> {
    const answers = await Promise.all(this.#threads.map((thread) => thread.ask('snapshot')));
    if (answers.includes(undefined)) return this.closed;
    return addSnapshots(answers.flatMap((answer) => (answer?.type === 'snapshot' ? [answer.snapshot] : [])));
  }

  async report(): Promise<readonly QueueReport[]> {
    const answers = await Promise.all(this.#threads.map((thread, index) => this.#reportOf(thread, index)));
    return answers
      .flatMap((answer) => (answer?.type === 'report' ? answer.queues : []))
      .sort((a, b) => a.queue - b.queue);
  }

  async #reportOf(thread: ServingWorker, index: number): Promise<FromThread | undefined> {
    const late = new AbortController();
    const silence = sleep(ANSWER_MS, 'late' as const, { signal: late.signal }).catch(() => undefined);
    const answer = await Promise.race([thread.ask('report'), silence]);
    late.abort();
    if (answer !== 'late') return answer;
    const line = `thread ${index} of ${this.#threads.length} has not answered for ${ANSWER_MS / 1000} s: its device or store keeps it`;
    this.#options.log(line, { event: 'queue-waits' });
    return undefined;
  }
}
