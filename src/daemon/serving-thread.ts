// Upper floor: what every thread that owns queues has: a device of its own, an event loop, a line to the main thread.
import type { RecordableHistogram } from 'node:perf_hooks';
import { pinThread } from '../sys/cpu.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import { totalOf } from '../virtio/queue-counters.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import { type DeviceSource, type OpenDevice, openDevice } from './device-source.ts';
import { type PollMode, pollPolicy } from './poll-mode.ts';
import { type LinkEnd, receiveOn } from './thread-link.ts';

export interface ServingThreadSetup {
  readonly device: DeviceSource;
  readonly poll: PollMode;
  readonly cpu: number | undefined;
  /** Shared with the main thread: both see the same counts. */
  readonly latency: RecordableHistogram;
  readonly main: LinkEnd;
}

/** `stop` and `refresh` are for the session's thread, which tells the others. `abandon` ends a thread at once, when another one died. */
export type ToThread = 'snapshot' | 'report' | 'stop' | 'refresh' | 'abandon';
export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'tell'; readonly line: string }
  | { readonly type: 'snapshot'; readonly snapshot: DeviceSnapshot }
  | { readonly type: 'report'; readonly queues: readonly QueueReport[] }
  | { readonly type: 'closed'; readonly snapshot: DeviceSnapshot };

export class ServingThread {
  /** What the session's thread does about `stop` and `refresh`. */
  onOrder: ((order: 'stop' | 'refresh') => void) | undefined;
  readonly loop: EventLoop;
  readonly host: LocalHost;
  readonly #open: OpenDevice;
  readonly #setup: ServingThreadSetup;

  constructor(setup: ServingThreadSetup) {
    if (setup.cpu !== undefined) pinThread(0, setup.cpu);
    this.#setup = setup;
    this.#open = openDevice(setup.device);
    this.loop = new EventLoop(pollPolicy(setup.poll));
    this.host = new LocalHost(this.#open.device, this.loop, { log: this.log, latency: setup.latency });
    receiveOn<ToThread>(this.loop, setup.main, (message) => {
      if (message === 'abandon') void this.finish();
      else if (message === 'report') this.#send({ type: 'report', queues: this.host.report() });
      else if (message === 'snapshot') this.#send({ type: 'snapshot', snapshot: this.#snapshot() });
      else this.onOrder?.(message);
    });
  }

  /** A line for a person: something went wrong, or waits. */
  readonly log = (line: string): void => this.#send({ type: 'log', line });
  /** A line for a person: something went right. */
  readonly tell = (line: string): void => this.#send({ type: 'tell', line });

  #send(message: FromThread): void {
    this.#setup.main.port.postMessage(message);
  }

  #snapshot(): DeviceSnapshot {
    const { read, written } = this.#open.bytes();
    return { ...totalOf(this.host.counters), bytesRead: read, bytesWritten: written };
  }

  /** Looks again at what can change outside; the driver is told if it changed. */
  refresh(): void {
    this.#open.refresh();
  }

  /** Serves until `finish`. */
  async run(): Promise<void> {
    this.#send({ type: 'ready' });
    await this.loop.run();
    this.loop[Symbol.dispose]();
  }

  /** Makes what the guest was told is written durable, and ends `run`. */
  async finish(): Promise<void> {
    try {
      await this.#open.close();
    } catch (error) {
      this.log(`the last flush failed: ${(error as Error).message}`);
    }
    this.#send({ type: 'closed', snapshot: this.#snapshot() });
    this.loop.stop();
  }
}
