// daemon: what every thread that runs queues has: its own device, an event loop, a link to the main thread.
import type { RecordableHistogram } from 'node:perf_hooks';
import { reportLeaks } from '../sys/asynchronous-close.ts';
import { parkOnBusError } from '../sys/bus-error.ts';
import { pinThread } from '../sys/cpu.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { LimitedLog } from '../sys/limited-log.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { threadId } from '../sys/thread-signal.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import { type About, codeOf, type Log } from '../virtio/log.ts';
import { totalOf } from '../virtio/queue-counters.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import { type DeviceSource, needsNode, openDevice } from './device-source.ts';
import type { DeviceProfile, OpenDevice } from './open-device.ts';
import { type PollMode, pollPolicy } from './poll-mode.ts';
import { type CounterMemory, ThreadCounters } from './thread-counters.ts';
import { type LinkEnd, receiveOn } from './thread-link.ts';

export interface ServingThreadSetup {
  readonly device: DeviceSource;
  readonly poll: PollMode;
  readonly cpu: number | undefined;
  /** Shared with the main thread and all serving threads. */
  readonly latency: RecordableHistogram;
  readonly main: LinkEnd;
}

/**
 * `stop` and `refresh` go to the device thread, which forwards them. `pass-on` goes to every thread before `stop`:
 * another process of this machine will serve the device. `retry` tries held requests again. `pause` takes no more
 * requests from the rings until `resume`. `abandon` ends a thread at
 * once after another one failed.
 */
export type ToThread =
  | 'snapshot'
  | 'report'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'pass-on'
  | 'refresh'
  | 'retry'
  | 'abandon';
export type FromThread =
  | { readonly type: 'started'; readonly thread: number }
  | { readonly type: 'ready'; readonly profile: DeviceProfile; readonly counters: CounterMemory }
  | { readonly type: 'log'; readonly line: string; readonly about: About | undefined }
  | { readonly type: 'snapshot'; readonly snapshot: DeviceSnapshot }
  /** `heldUnrecorded`: as in `OpenDevice`. */
  | { readonly type: 'report'; readonly queues: readonly QueueReport[]; readonly heldUnrecorded: number }
  | { readonly type: 'closed'; readonly snapshot: DeviceSnapshot };

export class ServingThread {
  /** The device thread's handler of `stop` and `refresh`. */
  onOrder: ((order: 'stop' | 'refresh') => void) | undefined;
  readonly loop: EventLoop;
  readonly host: LocalHost;
  /** Logs a line through the main thread. Repeated lines are limited here, before they cross threads. */
  readonly log: Log;
  readonly #lines: LimitedLog<About>;
  readonly #open: OpenDevice;
  readonly #setup: ServingThreadSetup;
  readonly counters: ThreadCounters;
  #isPassedOn = false;
  readonly #finished = Promise.withResolvers<void>();

  /** Opens the device on this thread. Rejects with what that throws. */
  static async open(setup: ServingThreadSetup): Promise<ServingThread> {
    parkOnBusError();
    if (setup.cpu !== undefined) pinThread(0, setup.cpu);
    const lines = new LimitedLog<About>((line, about) => send(setup, { type: 'log', line, about }));
    send(setup, { type: 'started', thread: threadId() });
    reportLeaks(lines.log);
    return new ServingThread(setup, lines, await openDevice(setup.device, lines.log));
  }

  private constructor(setup: ServingThreadSetup, lines: LimitedLog<About>, open: OpenDevice) {
    this.#setup = setup;
    this.#lines = lines;
    this.log = lines.log;
    this.#open = open;
    const counters = new ThreadCounters(open.device.queueSizes.length);
    counters.sizeBytes = open.profile.sizeBytes ?? 0;
    this.counters = counters;
    this.loop = new EventLoop(counters.counted(pollPolicy(setup.poll)));
    this.host = new LocalHost(open.device, this.loop, {
      log: this.log,
      latency: setup.latency,
      counters: (queue) => counters.queue(queue),
    });
    receiveOn<ToThread>(this.loop, setup.main, (message) => {
      if (message === 'abandon') void this.finish();
      else if (message === 'retry') this.#open.retryHeld?.();
      else if (message === 'pass-on') this.#passOn();
      else if (message === 'pause' || message === 'resume') this.host.setPaused(message === 'pause');
      else if (message === 'report')
        send(setup, { type: 'report', queues: this.host.report(), heldUnrecorded: this.#open.heldUnrecorded?.() ?? 0 });
      else if (message === 'snapshot') send(setup, { type: 'snapshot', snapshot: this.#snapshot() });
      else this.onOrder?.(message);
    });
  }

  #passOn(): void {
    this.#isPassedOn = true;
    this.#open.passOn?.();
  }

  #snapshot(): DeviceSnapshot {
    const { read, written, ...frames } = this.#open.bytes();
    return { ...totalOf(this.host.counters), bytesRead: read, bytesWritten: written, ...frames };
  }

  /** Reads again what can change outside, and notifies the driver of a change. Returns a changed size. */
  refresh(): number | undefined {
    const sizeBytes = this.#open.refresh();
    if (sizeBytes !== undefined) this.counters.sizeBytes = sizeBytes;
    return sizeBytes;
  }

  /** Serves until `finish`. */
  async run(): Promise<void> {
    const counters = { thread: this.counters.memory, blocks: this.#open.blockCounts };
    send(this.#setup, { type: 'ready', profile: this.#open.profile, counters });
    if (needsNode(this.#setup.device)) await this.#runInNode();
    else await this.loop.run();
    this.loop[Symbol.dispose]();
  }

  /** Ends the thread, whatever timers and sockets a user's module keeps open. */
  exit(): void {
    process.exit();
  }

  async #runInNode(): Promise<void> {
    using _ride = rideNodeLoop(this.loop);
    await this.#finished.promise;
  }

  /** Makes completed writes durable, unless another process goes on with them, and ends `run`. */
  async finish(): Promise<void> {
    try {
      await this.#open.close(this.#isPassedOn);
    } catch (error) {
      this.log(`the last flush failed: ${(error as Error).message}`, { event: 'store-failed', ...codeOf(error) });
    }
    this.#lines.flush();
    send(this.#setup, { type: 'closed', snapshot: this.#snapshot() });
    this.loop.stop();
    this.#finished.resolve();
  }
}

function send({ main }: ServingThreadSetup, message: FromThread): void {
  main.port.postMessage(message);
}
