// The microVM: hands a disk from our own device to a back end at a socket and back, while its guest goes on. The requests wait meanwhile.
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockDevice } from '../devices/blk/block-device.ts';
import { CONFIG_BYTES } from '../devices/blk/spec.ts';
import type { EventLoop } from '../sys/event-loop.ts';
import type { DeviceRegisters } from '../transports/bus/device-registers.ts';
import type { SharedRegion } from '../transports/queue/queue-host.ts';
import { reconnect } from '../transports/vhost-user/front-end/reconnect.ts';
import { RemoteBackEnd } from '../transports/vhost-user/front-end/remote-back-end.ts';
import { RemoteHost } from '../transports/vhost-user/front-end/remote-host.ts';
import type { Log } from '../virtio/log.ts';
import { incompatibility } from './disk-compatibility.ts';
import type { ReopenableImage } from './reopenable-image.ts';
import { type DiskSurroundings, plugStore } from './store-disk.ts';

export interface HandOverOptions {
  /** Where a back end listens, or will. */
  readonly socket: string;
  readonly device: BlockDevice;
  readonly image: ReopenableImage;
  /** What the driver sees of the device, made with an in-process host. */
  readonly registers: DeviceRegisters;
  /** The guest's memory. */
  readonly memory: readonly SharedRegion[];
  readonly loop: EventLoop;
  /** One line for each thing a person should know. */
  readonly log: Log;
}

/** `here` our device; `there` the back end; `waiting` for a back end to come; `moving` between them. */
export type DiskPlace = 'here' | 'moving' | 'waiting' | 'there';

const RETRY_MS = 50;
const TELLING_TRY = 6;

export class HandOver implements Disposable {
  readonly #options: HandOverOptions;
  /** While the disk is not here; each time a new one, that knows nothing of what was before. */
  #host: RemoteHost | undefined;
  #where: DiskPlace = 'here';
  #leaving = new AbortController();
  #backEnd: RemoteBackEnd | undefined;
  #closed = false;
  #moved: Promise<void> = Promise.resolve();

  constructor(options: HandOverOptions) {
    this.#options = options;
  }

  get #name(): string {
    return this.#options.image.store.name ?? 'the disk';
  }

  get where(): DiskPlace {
    return this.#where;
  }

  /** Fulfilled when what is under way is over: the disk is here, there, or waiting. */
  get settled(): Promise<void> {
    return this.#moved;
  }

  /** What SIGUSR1 does: hands the disk over, or takes it back. */
  toggle(): void {
    if (this.#where === 'here') this.#moved = this.#go();
    else if (this.#where === 'moving') this.#options.log(`${this.#name} is being handed over already`);
    else this.#comeBack();
  }

  /** Refuses a back end that will not do before anything is stopped, if it is there already. */
  async #go(): Promise<void> {
    const { socket, image, registers, loop, log } = this.#options;
    this.#where = 'moving';
    this.#leaving = new AbortController();
    const early = await RemoteBackEnd.connect(socket, loop, this.#connecting).catch(() => undefined);
    const objection = early && this.#objection(early);
    if (objection !== undefined || this.#closed) {
      early?.[Symbol.dispose]();
      return this.#stay(
        objection === undefined ? 'the machine ends' : `the back end at ${socket} is refused: ${objection}`,
      );
    }
    try {
      this.#host = await this.#makeHost();
      await registers.moveTo(this.#host);
      await image.release();
    } catch (error) {
      early?.[Symbol.dispose]();
      await this.#settle();
      return this.#stay((error as Error).message);
    }
    if (early !== undefined) return this.#attach(early);
    log(`${this.#name} is closed, and its requests wait for a back end at ${socket}`);
    this.#where = 'waiting';
    void this.#await();
  }

  #stay(why: string): void {
    this.#where = 'here';
    this.#options.log(`${this.#name} stays: ${why}`);
  }

  async #makeHost(): Promise<RemoteHost> {
    const { device, memory, log } = this.#options;
    const host = new RemoteHost(device, (line) => log(`${this.#name}: ${line}`));
    host.onGone = (reason) => {
      log(`${this.#name} comes back: ${reason.message}`);
      this.#comeBack();
    };
    await host.setMemory(memory);
    return host;
  }

  async #await(): Promise<void> {
    const { socket, loop } = this.#options;
    const { signal } = this.#leaving;
    const objection = (backEnd: RemoteBackEnd): string | undefined => this.#objection(backEnd);
    const backEnd = await reconnect(socket, loop, { ...this.#connecting, signal, objection }).catch(() => undefined);
    if (backEnd === undefined) return; // it is not waited for any more
    this.#where = 'moving';
    this.#moved = this.#attach(backEnd);
  }

  get #connecting(): { readonly configBytes: number; readonly log: Log } {
    return { configBytes: CONFIG_BYTES, log: this.#options.log };
  }

  #objection({ requests, config }: RemoteBackEnd): string | undefined {
    const { registers, device } = this.#options;
    const { offeredFeatures: features, queues } = registers;
    const promised = { features, queues: queues.length, config: device.config.bytes };
    return incompatibility(promised, { features: requests.offeredFeatures, queues: requests.queueCount ?? 1, config });
  }

  async #attach(backEnd: RemoteBackEnd): Promise<void> {
    this.#backEnd = backEnd;
    try {
      await this.#host?.attach(backEnd);
    } catch (problem) {
      this.#options.log(`${this.#name} comes back: ${(problem as Error).message}`);
      return await this.#return();
    }
    this.#where = 'there';
    this.#options.log(`${this.#name} is served by the back end at ${this.#options.socket}`);
  }

  #comeBack(): void {
    this.#where = 'moving';
    this.#leaving.abort();
    this.#moved = this.#return();
  }

  async #return(): Promise<void> {
    await this.#host?.detach();
    this.#backEnd?.[Symbol.dispose]();
    this.#backEnd = undefined;
    await this.#reopen();
    if (this.#closed) return;
    await this.#settle();
    this.#where = 'here';
    this.#options.log(`${this.#name} is served in-process`);
  }

  /** Our own device has the queues again. */
  async #settle(): Promise<void> {
    await this.#options.registers.moveBack();
    this.#host?.[Symbol.dispose]();
    this.#host = undefined;
  }

  /** The back end may not have let go of the image yet. If that lasts, it is said. */
  async #reopen(): Promise<void> {
    const { image, device, log } = this.#options;
    for (let tries = 1; !this.#closed; tries++) {
      try {
        return device.resize(image.reopen());
      } catch (error) {
        if (tries === TELLING_TRY) log(`${this.#name} waits: ${(error as Error).message}`);
      }
      await sleep(RETRY_MS);
    }
  }

  /** For good, wherever the disk is. Before the transport is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#leaving.abort();
    await this.#host?.leave();
  }

  /** Gives the guest's memory back, after the transport is closed. */
  [Symbol.dispose](): void {
    this.#host?.[Symbol.dispose]();
  }
}

/** A disk that can go to a back end at `socket` and come back: `toggle` it. The image is closed when the machine ends. */
export async function addHandOverDisk(
  image: ReopenableImage,
  socket: string,
  surroundings: DiskSurroundings,
): Promise<HandOver> {
  const { machine, log } = surroundings;
  machine.closeAtEnd({ close: () => image.close() });
  machine.closeAtEnd({ close: () => handOver[Symbol.dispose]() });
  const { device, transport } = await plugStore(image.store, surroundings);
  const { registers } = transport;
  const memory = machine.ram.regions();
  const handOver = new HandOver({ socket, device, image, registers, memory, loop: machine.loop, log });
  machine.closeAtEnd(handOver);
  return handOver;
}
