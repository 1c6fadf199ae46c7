// The microVM: a disk that is anybody's back end, which may go and return; meanwhile its requests wait, or fail, as the user chose.
import { setTimeout as sleep } from 'node:timers/promises';
import { BlockDevice } from '../devices/blk/block-device.ts';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { CONFIG, CONFIG_BYTES, SECTOR_BYTES, VIRTIO_BLK_F_CONFIG_WCE } from '../devices/blk/spec.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import type { DriverSession } from '../transports/bus/device-registers.ts';
import { LocalQueueHost } from '../transports/queue/local-host.ts';
import type { QueueHost, SharedRegion } from '../transports/queue/queue-host.ts';
import { BackEnd } from '../transports/vhost-user/front-end/back-end.ts';
import { connectAgain } from '../transports/vhost-user/front-end/connect-again.ts';
import { VhostUserDevice } from '../transports/vhost-user/front-end/vhost-user-device.ts';
import { VhostUserQueueHost } from '../transports/vhost-user/front-end/vhost-user-queue-host.ts';
import { VIRTIO_ID_BLOCK } from '../virtio/spec.ts';

export interface VhostUserDiskOptions {
  readonly socket: string;
  /** What becomes of requests while the back end is gone: they wait for it, or are answered with an I/O error. */
  readonly whenGone: 'wait' | 'fail';
  /** The guest's memory. */
  readonly memory: readonly SharedRegion[];
  readonly loop: EventLoop;
  /** One line for each thing a person should know. */
  readonly log: (line: string) => void;
}

/** After a back end that was there and would not do what it was asked. */
const RETRY_MS = 200;

export class VhostUserDisk implements Disposable {
  /** What a session is made with. */
  readonly device: VhostUserDevice;
  readonly host: VhostUserQueueHost;
  readonly #options: VhostUserDiskOptions;
  readonly #closing = new AbortController();
  #session: DriverSession | undefined;
  #failing: LocalQueueHost | undefined;

  private constructor(backEnd: BackEnd, options: VhostUserDiskOptions) {
    this.#options = options;
    this.device = new VhostUserDevice(backEnd, {
      type: VIRTIO_ID_BLOCK,
      isWritable: (offset, sizeBytes, features) =>
        offset === CONFIG.writeback && sizeBytes === 1 && (features & VIRTIO_BLK_F_CONFIG_WCE) !== 0n,
    });
    this.host = new VhostUserQueueHost(this.device, (line) => options.log(`${options.socket}: ${line}`));
    this.host.onGone = (reason) => {
      this.#awaitReturn(reason).catch((error: Error) => options.log(`${options.socket}: ${error.message}`));
    };
  }

  /** Rejects with SystemError (nobody listens), or BackEndError (what listens there will not do). */
  static async connect(options: VhostUserDiskOptions): Promise<VhostUserDisk> {
    const { socket, loop, log } = options;
    const backEnd = await BackEnd.connect(socket, loop, {
      configBytes: CONFIG_BYTES,
      log: (line) => log(`${socket}: ${line}`),
    });
    let disk: VhostUserDisk | undefined;
    try {
      disk = new VhostUserDisk(backEnd, options);
      await setMemory(disk.host, options.memory);
      await disk.#attach(backEnd);
      return disk;
    } catch (error) {
      backEnd[Symbol.dispose]();
      disk?.[Symbol.dispose]();
      throw error;
    }
  }

  /** The session whose requests fail while the back end is gone. */
  serve(session: DriverSession): void {
    this.#session = session;
  }

  async #attach(backEnd: BackEnd): Promise<void> {
    backEnd.onConfigChange = () => this.device.update(backEnd.config);
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.host.attach(backEnd, resolve);
    const problem = await promise;
    if (problem !== undefined) throw problem;
  }

  async #awaitReturn(reason: Error): Promise<void> {
    const { socket, whenGone, log } = this.#options;
    log(`${socket}: ${reason.message}; its disk's requests ${whenGone} until it returns`);
    const failing = whenGone === 'fail' ? await this.#failAll() : undefined;
    if (await this.#untilItReturns()) return;
    await failing?.reclaim();
    log(`${socket}: the back end is back`);
  }

  /** True when it is not waited for any more. */
  async #untilItReturns(): Promise<boolean> {
    const { socket, loop, log } = this.#options;
    const { signal } = this.#closing;
    const objection = (backEnd: BackEnd): string | undefined => this.device.difference(backEnd);
    const options = { configBytes: CONFIG_BYTES, log: (line: string) => log(`${socket}: ${line}`), signal, objection };
    for (let said = ''; ; ) {
      const backEnd = await connectAgain(socket, loop, options).catch(() => undefined);
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

  async #failAll(): Promise<DriverSession | undefined> {
    const { memory, loop, log } = this.#options;
    if (this.#failing === undefined) {
      this.#failing = new LocalQueueHost(failingDisk(this.device), loop, { log });
      await setMemory(this.#failing, memory);
    }
    await this.#session?.lend(this.#failing);
    return this.#session;
  }

  /** Leaves the back end for good, also one that does not answer. Before the session is closed. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.host.leave();
  }

  /** Gives the guest's memory back, after the session is closed. */
  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    this.#failing?.setMemory([], () => {});
  }
}

function setMemory(host: QueueHost, memory: readonly SharedRegion[]): Promise<void> {
  return new Promise((resolve, reject) => {
    host.setMemory(memory, (problem) => (problem === undefined ? resolve() : reject(problem)));
  });
}

/** Answers every request with VIRTIO_BLK_S_IOERR. */
function failingDisk({ config, queueSizes }: VhostUserDevice): BlockDevice {
  const fail = (): never => {
    throw new Error('the back end is gone');
  };
  const capacity = new DataView(config.buffer, config.byteOffset).getBigUint64(CONFIG.capacity, true);
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
