// Upper floor: a device that is somebody's TypeScript, served inside Node's loop so that it may be async, fetch and set timers.

import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { type Server, serve } from '../serve.ts';
import { duplicateFd } from '../sys/libc.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import type { QueueReport } from '../transports/queue/queue-report.ts';
import type { Log } from '../virtio/log.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { OpenDevice } from './device-source.ts';
import type { ServedDevice } from './served-device.ts';

export interface NodeDeviceOptions {
  /** Stays the caller's, who disposes it after `closed`. */
  readonly listener: UnixListener;
  readonly once: boolean;
  /** One line for each thing that went wrong, or waits. */
  readonly log: Log;
  /** One line for each thing that went right. */
  readonly tell?: (line: string) => void;
}

export class NodeDevice implements ServedDevice {
  readonly latency: RecordableHistogram = createHistogram();
  readonly closed: Promise<DeviceSnapshot>;
  readonly #open: OpenDevice;
  readonly #server: Server;
  readonly #log: Log;

  constructor(open: OpenDevice, options: NodeDeviceOptions) {
    const { log, tell, once, listener } = options;
    this.#open = open;
    this.#log = log;
    const vhostUser = duplicateFd(listener.fd);
    const { latency } = this;
    this.#server = serve(open.device, { vhostUser, once, log, latency, ...(tell && { tell }) });
    this.closed = this.#server.closed.then(async () => {
      await open.close();
      return this.snapshot();
    });
  }

  async ready(): Promise<void> {}

  async snapshot(): Promise<DeviceSnapshot> {
    const { read, written } = this.#open.bytes();
    return { ...this.#server.totals(), bytesRead: read, bytesWritten: written };
  }

  async report(): Promise<readonly QueueReport[]> {
    return this.#server.report();
  }

  stop(): void {
    void this.#server.close();
  }

  refresh(): void {
    try {
      this.#open.refresh();
    } catch (error) {
      this.#log(`the size of the store could not be read again: ${(error as Error).message}`);
    }
  }
}
