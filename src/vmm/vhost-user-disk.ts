// The microVM: a disk that is anybody's back end, which may go and return; meanwhile its requests wait, or fail, as the user chose.
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
import type { DiskSurroundings } from './store-disk.ts';

export interface VhostUserDiskOptions {
  readonly socket: string;
  /** What becomes of requests while the back end is gone: they wait for it, or are answered with an I/O error. */
  readonly whenGone: 'wait' | 'fail';
  /** The guest's memory. */
  readonly memory: readonly SharedRegion[];
  readonly loop: EventLoop;
  /** One line for each thing a person should know. */
  readonly log: Log;
}

/** After a back end that was there and would not do what it was asked. */
const RETRY_MS = 200;

export class VhostUserDisk implements Disposable {
  /** What a transport is made with. */
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
      this.#awaitReturn(reason).catch((error: Error) => options.log(`${options.socket}: ${error.message}`));
    };
  }

  /** Rejects with SystemError (nobody listens), or BackEndError (what listens there will not do). */
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

  /** What its driver sees: requests fail there while the back end is gone. */
  serve(registers: DeviceRegisters): void {
    this.#registers = registers;
  }

  async #attach(backEnd: RemoteBackEnd): Promise<void> {
    backEnd.onConfigChange = () => {
      if (this.#device.update(backEnd.config)) this.host.events?.configChanged();
    };
    await this.host.attach(backEnd);
  }

  async #awaitReturn(reason: Error): Promise<void> {
    const { socket, whenGone, log } = this.#options;
    log(`${socket}: ${reason.message}; its disk's requests ${whenGone} until it returns`);
    const failing = whenGone === 'fail' ? await this.#failAll() : undefined;
    if (await this.#untilItReturns()) return;
    await failing?.moveBack();
    log(`${socket}: the back end is back`);
  }

  /** True when it is not waited for any more. */
  async #untilItReturns(): Promise<boolean> {
    const { socket, loop, log } = this.#options;
    const { signal } = this.#closing;
    const objection = (backEnd: RemoteBackEnd): string | undefined => this.#device.difference(backEnd);
    const options = { configBytes: CONFIG_BYTES, log: (line: string) => log(`${socket}: ${line}`), signal, objection };
    for (let said = ''; ; ) {
      const backEnd = await reconnect(socket, loop, options).catch(() => undefined);
      if (backEnd === undefined) return true;
      try {
        await this.#attach(backEnd);
        return false;
      } catch (error) {
        backEnd[Symbol.dispose]();
        const { message } = error as Error;
        if (message !== said) log(`${socket}: ${message}`);
        said = message;
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

  /** Leaves the back end for good, also one that does not answer. Before the transport is closed. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.host.leave();
  }

  /** Gives the guest's memory back, after the transport is closed. */
  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    void this.#failing?.setMemory([]);
  }
}

/** Answers every request with VIRTIO_BLK_S_IOERR. */
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

/** Rejects with SystemError (nobody listens there), or BackEndError (what listens will not do). */
export async function addVhostUserDisk(
  { socket, whenGone }: Pick<VhostUserDiskOptions, 'socket' | 'whenGone'>,
  { machine, slots, log }: DiskSurroundings,
): Promise<void> {
  const memory = machine.ram.regions();
  const disk = await VhostUserDisk.connect({ socket, whenGone, memory, loop: machine.loop, log });
  machine.closeAtEnd({ close: () => disk[Symbol.dispose]() });
  const { registers } = slots.plug({ host: disk.host, log: (line) => log(`${socket}: ${line}`) });
  disk.serve(registers);
  machine.closeAtEnd(disk);
}
