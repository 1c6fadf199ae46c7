// Upper floor: what every thread that owns queues has: a store of its own, a device, an event loop, a line to the main thread.
import type { RecordableHistogram } from 'node:perf_hooks';
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { reopenStore, type StoreDescription } from '../stores/open-store.ts';
import { pinThread } from '../sys/cpu.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { LocalQueueHost } from '../transports/queue/local-host.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import { totalOf } from '../virtio/queue-counters.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import { type PollMode, pollPolicy } from './poll-mode.ts';
import { type LinkEnd, receiveOn } from './thread-link.ts';

export interface ServingThreadSetup {
  readonly store: StoreDescription;
  readonly device: Omit<BlockDeviceOptions, 'onError'>;
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
  | { readonly type: 'snapshot'; readonly snapshot: DeviceSnapshot }
  | { readonly type: 'report'; readonly queues: readonly QueueReport[] }
  | { readonly type: 'closed'; readonly snapshot: DeviceSnapshot };

export class ServingThread {
  /** What the session's thread does about `stop` and `refresh`. */
  onOrder: ((order: 'stop' | 'refresh') => void) | undefined;
  readonly loop: EventLoop;
  readonly device: BlockDevice;
  readonly host: LocalQueueHost;
  readonly #store: BlockStore;
  readonly #setup: ServingThreadSetup;

  constructor(setup: ServingThreadSetup) {
    if (setup.cpu !== undefined) pinThread(0, setup.cpu);
    this.#setup = setup;
    this.#store = reopenStore(setup.store);
    this.device = new BlockDevice(this.#store, { ...setup.device, onError: this.log });
    this.loop = new EventLoop(pollPolicy(setup.poll));
    this.host = new LocalQueueHost(this.device, this.loop, { log: this.log, latency: setup.latency });
    receiveOn<ToThread>(this.loop, setup.main, (message) => {
      if (message === 'abandon') this.finish();
      else if (message === 'report') this.#tell({ type: 'report', queues: this.host.report() });
      else if (message === 'snapshot') this.#tell({ type: 'snapshot', snapshot: this.#snapshot() });
      else this.onOrder?.(message);
    });
  }

  readonly log = (line: string): void => this.#tell({ type: 'log', line });

  #tell(message: FromThread): void {
    this.#setup.main.port.postMessage(message);
  }

  #snapshot(): DeviceSnapshot {
    const { bytes } = this.device;
    return { ...totalOf(this.host.counters), bytesRead: bytes.read, bytesWritten: bytes.written };
  }

  /** Looks at the store's size again; the driver is told if it changed. */
  refresh(): void {
    const before = this.#store.sizeBytes;
    const sizeBytes = this.#store.refreshSize?.() ?? before;
    if (sizeBytes !== before) this.device.resize(sizeBytes);
  }

  /** Serves until `finish`. */
  async run(): Promise<void> {
    this.#tell({ type: 'ready' });
    await this.loop.run();
    this.loop[Symbol.dispose]();
  }

  /** Makes what the guest was told is written durable, and ends `run`. */
  finish(): void {
    try {
      this.#store.flush?.();
      this.#store.close?.();
    } catch (error) {
      this.log(`the last flush failed: ${(error as Error).message}`);
    }
    this.#tell({ type: 'closed', snapshot: this.#snapshot() });
    this.loop.stop();
  }
}
