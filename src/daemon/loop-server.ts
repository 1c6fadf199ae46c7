// daemon: a device object served in this thread's Node loop.
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { BlockDevice } from '../devices/blk/block-device.ts';
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import type { UnixListener } from '../sys/unix-socket.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import { VhostUserServer } from '../transports/vhost-user/back-end/server.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { Log } from '../virtio/log.ts';
import { totalOf } from '../virtio/queue-counters.ts';
import type { DeviceSnapshot } from './device-snapshot.ts';
import type { DeviceProfile } from './open-device.ts';
import type { ServedDevice } from './served-device.ts';

export interface LoopServerOptions {
  /** Takes each log line. Not rate-limited: a guest can cause any number of lines. */
  readonly log: Log;
  readonly once?: boolean;
  readonly allowFileMemory?: boolean;
}

/** A device in this thread's Node loop. */
export class LoopServer implements ServedDevice {
  readonly latency: RecordableHistogram = createHistogram();
  readonly closed: Promise<DeviceSnapshot>;
  readonly #device: VirtioDevice;
  readonly #host: LocalHost;
  readonly #server: VhostUserServer;

  /** @param listener is disposed when the server closes. */
  constructor(device: VirtioDevice, listener: UnixListener, options: LoopServerOptions) {
    const loop = new EventLoop();
    this.#device = device;
    this.#host = new LocalHost(device, loop, { log: options.log, latency: this.latency });
    const closed = Promise.withResolvers<DeviceSnapshot>();
    this.closed = closed.promise;
    const onClosed = (): void => {
      ride[Symbol.dispose]();
      loop[Symbol.dispose]();
      closed.resolve(this.snapshot());
    };
    this.#server = new VhostUserServer(listener, this.#host, loop, { ...options, onClosed });
    const ride = rideNodeLoop(loop);
  }

  async ready(): Promise<DeviceProfile> {
    const { type, queueSizes } = this.#device;
    return { name: `a device of type ${type}`, type, queues: queueSizes.length };
  }

  async snapshot(): Promise<DeviceSnapshot> {
    const { read = 0, written = 0 } = (this.#device as { bytes?: { read: number; written: number } }).bytes ?? {};
    return { ...totalOf(this.#host.counters), bytesRead: read, bytesWritten: written };
  }

  async report() {
    return this.#host.report();
  }

  /** Does nothing: the owner of a device object calls `device.resize` itself. */
  refresh(): void {}

  retryHeld(): void {
    if (this.#device instanceof BlockDevice) this.#device.retryHeld();
  }

  async heldUnrecorded(): Promise<number> {
    return this.#device instanceof BlockDevice ? this.#device.heldUnrecorded : 0;
  }

  close(): Promise<DeviceSnapshot> {
    this.#server.close();
    return this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
