// vmm: a disk in a vhost-user back end, which may go away and return; meanwhile its requests wait, or fail, as
// the user chose.
import { setTimeout as sleep } from 'node:timers/promises';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { CONFIG, CONFIG_BYTES, SECTOR_BYTES } from '../devices/blk/spec.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import type { DeviceRegisters } from '../transports/bus/device-registers.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { SharedRegion } from '../transports/queue/queue-host.ts';
import { reconnect } from '../transports/vhost-user/front-end/reconnect.ts';
import { RemoteBackEnd } from '../transports/vhost-user/front-end/remote-back-end.ts';
import { RemoteDevice } from '../transports/vhost-user/front-end/remote-device.ts';
import { RemoteHost } from '../transports/vhost-user/front-end/remote-host.ts';
import type { Log } from '../virtio/log.ts';
import { VIRTIO_ID_BLOCK } from '../virtio/spec.ts';
import type { DeviceEnvironment } from './plug-device.ts';

export interface VhostUserDiskOptions {
  readonly socket: string;
  /** While the back end is gone, requests wait for it, or fail with an I/O error. */
  readonly whenGone: 'wait' | 'fail';
  /** The guest's memory. */
  readonly memory: readonly SharedRegion[];
  readonly loop: EventLoop;
  /** Takes each log line. */
  readonly log: Log;
}

/** Delay after a back end that could not be attached. */
const RETRY_MS = 200;

/** A disk in a back end at a socket. */
export class VhostUserDisk implements Disposable {
  /** The host for a transport. */
  readonly host: RemoteHost;
  readonly #device: RemoteDevice;
  readonly #options: VhostUserDiskOptions;
  readonly #closing = new AbortController();
  #registers: DeviceRegisters | undefined;
  #failing: LocalHost | undefined;

  private constructor(backEnd: RemoteBackEnd, options: VhostUserDiskOptions) {
    this.#options = options;
    this.#device = new RemoteDevice(backEnd, {
      type: VIRTIO_ID_BLOCK,
      isWritable: (offset, sizeBytes) => offset === CONFIG.writeback && sizeBytes === 1,
    });
    this.host = new RemoteHost(this.#device, (line) => options.log(`${options.socket}: ${line}`));
    this.host.onGone = (reason) => {
      this.#onGone(reason).catch((error: Error) => options.log(`${options.socket}: ${error.message}`));
    };
  }

  /**
   * Connects and attaches the back end. Rejects with SystemError (nothing listens) or BackEndError (it is not
   * acceptable).
   */
  static async connect(options: VhostUserDiskOptions): Promise<VhostUserDisk> {
    const { socket, loop, log } = options;
    const backEnd = await RemoteBackEnd.connect(socket, loop, {
      configBytes: CONFIG_BYTES,
      log: (line) => log(`${socket}: ${line}`),
    });
    let disk: VhostUserDisk | undefined;
    try {
      disk = new VhostUserDisk(backEnd, options);
      await disk.host.setMemory(options.memory);
      await disk.#attach(backEnd);
      return disk;
    } catch (error) {
      backEnd[Symbol.dispose]();
      disk?.[Symbol.dispose]();
      throw error;
    }
  }

  /** Sets the registers of the disk's transport, in which requests fail while the back end is gone. */
  serve(registers: DeviceRegisters): void {
    this.#registers = registers;
  }

  async #attach(backEnd: RemoteBackEnd): Promise<void> {
    backEnd.onConfigChange = () => {
      if (this.#device.update(backEnd.config)) this.host.events?.configChanged();
    };
    await this.host.attach(backEnd);
  }

  async #onGone(reason: Error): Promise<void> {
    const { socket, whenGone, log } = this.#options;
    log(`${socket}: ${reason.message}; its disk's requests ${whenGone} until it returns`);
    const failing = whenGone === 'fail' ? await this.#failAll() : undefined;
    if (await this.#reconnect()) return;
    await failing?.moveBack();
    log(`${socket}: the back end is back`);
  }

  /** Waits for the back end and attaches it. Returns true if the disk was closed instead. */
  async #reconnect(): Promise<boolean> {
    const { socket, loop, log } = this.#options;
    const { signal } = this.#closing;
    const objection = (backEnd: RemoteBackEnd): string | undefined => this.#device.difference(backEnd);
    const options = { configBytes: CONFIG_BYTES, log: (line: string) => log(`${socket}: ${line}`), signal, objection };
    for (let lastLine = ''; ; ) {
      const backEnd = await reconnect(socket, loop, options).catch(() => undefined);
      if (backEnd === undefined) return true;
      try {
        await this.#attach(backEnd);
        return false;
      } catch (error) {
        backEnd[Symbol.dispose]();
        const { message } = error as Error;
        if (message !== lastLine) log(`${socket}: ${message}`);
        lastLine = message;
      }
      await sleep(RETRY_MS);
    }
  }

  async #failAll(): Promise<DeviceRegisters | undefined> {
    const { memory, loop, log } = this.#options;
    if (this.#failing === undefined) {
      this.#failing = new LocalHost(failingDisk(this.#device), loop, { log });
      await this.#failing.setMemory(memory);
    }
    await this.#registers?.moveTo(this.#failing);
    return this.#registers;
  }

  /** Disconnects the back end, even if it does not answer. Before the transport is closed. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.host.leave();
  }

  /** Unmaps guest memory, after the transport is closed. */
  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    void this.#failing?.setMemory([]);
  }
}

/** A device that answers every request with VIRTIO_BLK_S_IOERR. */
function failingDisk({ config: { bytes }, queueSizes }: RemoteDevice): BlockDevice {
  const fail = (): never => {
    throw new Error('the back end is gone');
  };
  const capacity = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(CONFIG.capacity, true);
  const store: BlockStore = {
    sizeBytes: Number(capacity) * SECTOR_BYTES,
    read: fail,
    write: fail,
    flush: fail,
    discard: fail,
    writeZeroes: fail,
  };
  return new BlockDevice(store, { queues: queueSizes.length });
}

/** Adds a disk in a back end. Rejects with SystemError (nothing listens) or BackEndError (it is not acceptable). */
export async function addVhostUserDisk(
  { socket, whenGone }: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  { machine, slots, log }: DeviceEnvironment,
): Promise<void> {
  const memory = machine.ram.regions();
  const disk = await VhostUserDisk.connect({ socket, whenGone, memory, loop: machine.loop, log });
  machine.closeAtEnd({ close: () => disk[Symbol.dispose]() });
  const { registers } = slots.plug({ host: disk.host, log: (line) => log(`${socket}: ${line}`) });
  disk.serve(registers);
  machine.closeAtEnd(disk);
}
