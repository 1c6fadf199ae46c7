// daemon: a device served by threads of its own. The main thread starts them, sends orders and collects their
// answers.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { dieOnBusError } from '../sys/bus-error.ts';
import { EventFd } from '../sys/event-fd.ts';
import type { SocketFile } from '../sys/socket-file.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { Log } from '../virtio/log.ts';
import { addSnapshots, type DeviceSnapshot } from './device-snapshot.ts';
import { type DeviceSource, unshared } from './device-source.ts';
import type { DeviceThreadSetup } from './device-thread.ts';
import { ImageSize } from './memory-loss.ts';
import type { DeviceProfile } from './open-device.ts';
import type { PollMode } from './poll-mode.ts';
import { newProcessEnd, type ProcessEnd, takeProcessEnd } from './process-end.ts';
import type { QueueThreadSetup } from './queue-thread.ts';
import type { ServedDevice } from './served-device.ts';
import type { FromThread, ServingThreadSetup } from './serving-thread.ts';
import { ServingWorker } from './serving-worker.ts';
import { SpareThreads } from './spare-threads.ts';
import { countsOf, type DeviceCounts } from './thread-counters.ts';
import type { LinkEnd } from './thread-link.ts';

export interface DeviceDaemonOptions {
  readonly device: DeviceSource;
  /** Owned by the caller, which disposes it after `closed`. */
  readonly listener: UnixListener;
  readonly threads: number;
  readonly poll: PollMode;
  readonly once: boolean;
  /**
   * Accept guest memory in a file of any file system. A FUSE server that does not answer then blocks a thread in a page
   * fault.
   */
  readonly allowFileMemory?: boolean;
  /**
   * For a process that serves only this device: SIGTERM and SIGINT stop the device, even while the main thread is busy,
   * and then end the process with exit code 0. Some seconds after this grace period the kernel ends the process,
   * whatever still waits. Without it the caller handles signals.
   */
  readonly processGraceSeconds?: number;
  /** With `processGraceSeconds`: files of other sockets to remove when the process ends. */
  readonly otherSockets?: readonly SocketFile[];
  /** Threads that were started beforehand. Default: none. */
  readonly spares?: SpareThreads;
  /** Processors to pin the threads to, round robin. */
  readonly cpus?: readonly number[];
  /** Takes each log line. */
  readonly log: Log;
}

/** How often the main thread checks whether a thread lost its memory. */
const CHECK_MS = 500;
/** How long the other threads may take to end after one of them lost its memory. */
const EXIT_MS = 1000;
/** A thread that does not answer for this long is in a call of its device or store; this is logged. */
const ANSWER_MS = 1000;

/** Serves one device on its own threads: the device thread has the session, the queue threads run further queues. */
export class DeviceDaemon implements ServedDevice {
  readonly latency: RecordableHistogram = createHistogram();
  readonly closed: Promise<DeviceSnapshot>;
  readonly #options: DeviceDaemonOptions;
  readonly #spares: SpareThreads;
  /** Wake the receivers of messages between threads. */
  readonly #eventFds: EventFd[] = [];
  readonly #queueThreads: readonly ServingWorker[];
  readonly #deviceThread: ServingWorker;
  readonly #processEnd: ProcessEnd | undefined;
  readonly #imageSize: ImageSize;
  #isLost = false;
  #memoryCheck: NodeJS.Timeout | undefined;

  constructor(options: DeviceDaemonOptions) {
    this.#options = options;
    this.#spares = options.spares ?? new SpareThreads();
    const { processGraceSeconds, listener, device, otherSockets } = options;
    this.#processEnd =
      processGraceSeconds === undefined
        ? undefined
        : newProcessEnd(listener.file, processGraceSeconds, device.kind === 'console', otherSockets);
    this.#imageSize = new ImageSize(device);
    // A serving thread that gets SIGBUS in guest memory or in an image is parked, and `#memoryLoss` finds it. The main thread has to
    // die instead.
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
    // `ready` rejects with the same error, and callers await it first.
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
      spares: this.#spares,
      ports: [calls.port],
      log: this.#options.log,
      setup: (main): QueueThreadSetup => ({ ...this.#setupOf(index), main, calls, answersWakeFd: answers.wakeFd }),
    });
  }

  #startDeviceThread(queueThreads: DeviceThreadSetup['queueThreads']): ServingWorker {
    const { listener, once, allowFileMemory = false, log } = this.#options;
    return new ServingWorker({
      file: 'device-thread',
      spares: this.#spares,
      ports: queueThreads.map(({ answers }) => answers.port),
      log,
      setup: (main): DeviceThreadSetup => ({
        ...this.#setupOf(0),
        ...{ main, listenFd: listener.fd, once, allowFileMemory, processEnd: this.#processEnd, queueThreads },
      }),
    });
  }

  #setupOf(index: number): Omit<ServingThreadSetup, 'main'> {
    const { device, threads, poll, cpus } = this.#options;
    return {
      device: threads === 1 ? unshared(device) : device,
      poll,
      cpu: cpus?.[index % cpus.length],
      latency: this.latency,
    };
  }

  get #threads(): readonly ServingWorker[] {
    return [this.#deviceThread, ...this.#queueThreads];
  }

  /** Resolves when every thread serves. */
  async ready(): Promise<DeviceProfile> {
    const [profile] = await Promise.all(this.#threads.map(({ ready }) => ready));
    return profile as DeviceProfile;
  }

  async #whenClosed(): Promise<DeviceSnapshot> {
    try {
      const last = await Promise.race([Promise.all(this.#threads.map(({ closed }) => closed)), this.#memoryLoss()]);
      // The device thread ends the process then.
      if (this.#processEnd !== undefined && !takeProcessEnd(this.#processEnd)) await new Promise(() => {});
      // Nor does the process wait for the threads, which have closed everything.
      if (this.#processEnd === undefined) await this.#threadsEnd();
      return addSnapshots(last);
    } catch (error) {
      if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
      // The other threads would go on serving, and keep this process alive, while some queues are dead.
      for (const thread of this.#threads) thread.order('abandon');
      await this.#threadsEnd();
      throw error;
    } finally {
      clearInterval(this.#memoryCheck);
    }
  }

  /**
   * Waits for the threads to exit and closes their eventfds. A parked thread cannot exit, and keeps its descriptors.
   */
  async #threadsEnd(): Promise<void> {
    const ended = Promise.all(this.#threads.map(({ exited }) => exited)).then(() => true);
    if (!(await Promise.race([ended, sleep(EXIT_MS, false, { ref: false })])) && this.#isLost) return;
    await ended;
    for (const thread of this.#threads) thread.release();
    for (const eventFd of this.#eventFds) eventFd[Symbol.dispose]();
  }

  /** Rejects when a thread is parked after SIGBUS in memory that another program took away. */
  #memoryLoss(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>();
    const check = (): void => {
      if (!this.#threads.some(({ isParked }) => isParked)) return;
      this.#isLost = true;
      reject(this.#imageSize.lossError());
    };
    this.#memoryCheck = setInterval(check, CHECK_MS);
    this.#memoryCheck.unref();
    return promise;
  }

  close(isPassedOn = false): Promise<DeviceSnapshot> {
    if (isPassedOn) for (const thread of this.#threads) thread.order('pass-on');
    if (this.#processEnd !== undefined) takeProcessEnd(this.#processEnd);
    this.#deviceThread.order('stop');
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  refresh(): void {
    this.#imageSize.note();
    this.#deviceThread.order('refresh');
  }

  retryHeld(): void {
    for (const thread of this.#threads) thread.order('retry');
  }

  /** Takes no more requests from the rings, or goes on. What is in flight is finished. */
  setPaused(isPaused: boolean): void {
    for (const thread of this.#threads) thread.order(isPaused ? 'pause' : 'resume');
  }

  /** What its threads have counted so far. No thread is asked. */
  counts(): DeviceCounts {
    return countsOf(this.#threads.flatMap(({ counters }) => counters ?? []));
  }

  /** The kernel's ids of its threads that have started; the device thread is the first. */
  get threadIds(): readonly number[] {
    return this.#threads.flatMap(({ threadId }) => threadId ?? []);
  }

  /** Totals so far, over all threads. */
  async snapshot(): Promise<DeviceSnapshot> {
    const answers = await Promise.all(this.#threads.map((thread) => thread.ask('snapshot')));
    if (answers.includes(undefined)) return this.closed;
    return addSnapshots(answers.flatMap((answer) => (answer?.type === 'snapshot' ? [answer.snapshot] : [])));
  }

  async report(): Promise<readonly QueueReport[]> {
    return (await this.#reports()).flatMap(({ queues }) => queues).sort((a, b) => a.queue - b.queue);
  }

  async heldUnrecorded(): Promise<number> {
    return (await this.#reports()).reduce((sum, { heldUnrecorded }) => sum + heldUnrecorded, 0);
  }

  async #reports(): Promise<Extract<FromThread, { type: 'report' }>[]> {
    const answers = await Promise.all(this.#threads.map((thread, index) => this.#reportOf(thread, index)));
    return answers.filter((answer) => answer?.type === 'report');
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
