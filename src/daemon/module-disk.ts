// Upper floor: a disk whose store is somebody's TypeScript, served inside Node's loop so that it may be async.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { BlockDeviceOptions } from '../devices/blk/block-config.ts';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { type Server, serve } from '../serve.ts';
import { duplicateFd } from '../sys/libc.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { ServedDisk } from './served-disk.ts';

export interface ModuleDiskOptions {
  readonly device: Omit<BlockDeviceOptions, 'onError'>;
  /** Stays the caller's, who disposes it after `closed`. */
  readonly listener: UnixListener;
  readonly once: boolean;
  readonly log: (line: string) => void;
}

export class ModuleDisk implements ServedDisk {
  readonly latency: RecordableHistogram = createHistogram();
  readonly closed: Promise<DeviceSnapshot>;
  readonly #store: BlockStore;
  readonly #device: BlockDevice;
  readonly #server: Server;
  readonly #log: (line: string) => void;

  constructor(store: BlockStore, options: ModuleDiskOptions) {
    const { log, once, listener } = options;
    this.#store = store;
    this.#log = log;
    this.#device = new BlockDevice(store, { ...options.device, onError: log });
    const vhostUser = duplicateFd(listener.fd);
    this.#server = serve(this.#device, { vhostUser, once, log, latency: this.latency });
    this.closed = this.#server.closed.then(async () => {
      await store.flush?.();
      await store.close?.();
      return this.snapshot();
    });
  }

  async ready(): Promise<void> {}

  async snapshot(): Promise<DeviceSnapshot> {
    const { bytes } = this.#device;
    return { ...this.#server.totals(), bytesRead: bytes.read, bytesWritten: bytes.written };
  }

  async report(): Promise<readonly QueueReport[]> {
    return this.#server.report();
  }

  stop(): void {
    this.#server.close();
  }

  refresh(): void {
    try {
      this.#device.resize(this.#store.refreshSize?.() ?? this.#store.sizeBytes);
    } catch (error) {
      this.#log(`the size of the store could not be read again: ${(error as Error).message}`);
    }
  }
}
