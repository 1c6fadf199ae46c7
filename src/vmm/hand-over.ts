// vmm: the hand-over of a disk from the in-process device to a back end at a socket, and back, while its guest
// goes on.
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
import type { DeviceEnvironment } from './plug-device.ts';
import type { ReopenableImage } from './reopenable-image.ts';
import { plugStore } from './store-disk.ts';

export interface HandOverOptions {
  /** The path at which a back end listens, or will listen. */
  readonly socket: string;
  readonly device: BlockDevice;
  readonly image: ReopenableImage;
  /** The registers of the device, made with an in-process host. */
  readonly registers: DeviceRegisters;
  /** The guest's memory. */
  readonly memory: readonly SharedRegion[];
  readonly loop: EventLoop;
  /** Takes each log line. */
  readonly log: Log;
}

/**
 * What serves the disk: `here`: the in-process device; `there`: the back end; `waiting`: for a back end; `moving`:
 * between them.
 */
export type DiskPlace = 'here' | 'moving' | 'waiting' | 'there';

const RETRY_MS = 50;
const LOGGED_TRY = 6;

/** Moves one disk. While no device serves it, requests wait in the rings. */
export class HandOver implements Disposable {
  readonly #options: HandOverOptions;
  /** Present while the disk is not here; each hand-over makes a new one. */
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

  /** Resolves when the current step is done: the disk is here, there, or waiting. */
  get settled(): Promise<void> {
    return this.#moved;
  }

  /** Hands the disk over, or takes it back. SIGUSR1 calls this. */
  toggle(): void {
    if (this.#where === 'here') this.#moved = this.#handOver();
    else if (this.#where === 'moving') this.#options.log(`${this.#name} is being handed over already`);
    else this.#startReturn();
  }

  /**
   * Hands the disk over. If the back end listens already and is not compatible, refuses it before any queue is stopped.
   */
  async #handOver(): Promise<void> {
    const { socket, image, registers, loop, log } = this.#options;
    this.#where = 'moving';
    this.#leaving = new AbortController();
    const early = await RemoteBackEnd.connect(socket, loop, this.#connecting).catch(() => undefined);
    const objection = early && this.#objection(early);
    if (objection !== undefined || this.#closed) {
      early?.[Symbol.dispose]();
      return this.#logStay(
        objection === undefined ? 'the machine ends' : `the back end at ${socket} is refused: ${objection}`,
      );
    }
    try {
      this.#host = await this.#makeHost();
      await registers.moveTo(this.#host);
      await image.release();
    } catch (error) {
      early?.[Symbol.dispose]();
      await this.#useOwnDevice();
      return this.#logStay((error as Error).message);
    }
    if (early !== undefined) return this.#attach(early);
    log(`${this.#name} is closed, and its requests wait for a back end at ${socket}`);
    this.#where = 'waiting';
    void this.#waitForBackEnd();
  }

  #logStay(why: string): void {
    this.#where = 'here';
    this.#options.log(`${this.#name} stays: ${why}`);
  }

  async #makeHost(): Promise<RemoteHost> {
    const { device, memory, log } = this.#options;
    const host = new RemoteHost(device, (line) => log(`${this.#name}: ${line}`));
    host.onGone = (reason) => {
      log(`${this.#name} comes back: ${reason.message}`);
      this.#startReturn();
    };
    await host.setMemory(memory);
    return host;
  }

  async #waitForBackEnd(): Promise<void> {
    const { socket, loop } = this.#options;
    const { signal } = this.#leaving;
    const objection = (backEnd: RemoteBackEnd): string | undefined => this.#objection(backEnd);
    const backEnd = await reconnect(socket, loop, { ...this.#connecting, signal, objection }).catch(() => undefined);
    if (backEnd === undefined) return; // the wait was aborted
    this.#where = 'moving';
    this.#moved = this.#attach(backEnd);
  }

  get #connecting(): { readonly configBytes: number; readonly log: Log } {
    return { configBytes: CONFIG_BYTES, log: this.#options.log };
  }

  #objection({ requests, config }: RemoteBackEnd): string | undefined {
    const { registers, device } = this.#options;
    const { offeredFeatures: features, queues } = registers;
    const disk = { features, queues: queues.length, config: device.config.bytes };
    return incompatibility(disk, { features: requests.offeredFeatures, queues: requests.queueCount ?? 1, config });
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

  #startReturn(): void {
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
    await this.#useOwnDevice();
    this.#where = 'here';
    this.#options.log(`${this.#name} is served in-process`);
  }

  /** Moves the queues back to the in-process device. */
  async #useOwnDevice(): Promise<void> {
    await this.#options.registers.moveBack();
    this.#host?.[Symbol.dispose]();
    this.#host = undefined;
  }

  /** Reopens the image. Retries while the back end has not closed it yet, and logs it if that lasts. */
  async #reopen(): Promise<void> {
    const { image, device, log } = this.#options;
    for (let tries = 1; !this.#closed; tries++) {
      try {
        return device.resize(image.reopen());
      } catch (error) {
        if (tries === LOGGED_TRY) log(`${this.#name} waits: ${(error as Error).message}`);
      }
      await sleep(RETRY_MS);
    }
  }

  /** Ends the hand-over, wherever the disk is. Before the transport is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#leaving.abort();
    await this.#host?.leave();
  }

  /** Unmaps guest memory, after the transport is closed. */
  [Symbol.dispose](): void {
    this.#host?.[Symbol.dispose]();
  }
}

/**
 * Adds a disk that `toggle` hands over to a back end at `socket` and back. The image is closed when the machine ends.
 */
export async function addHandOverDisk(
  image: ReopenableImage,
  socket: string,
  environment: DeviceEnvironment,
): Promise<HandOver> {
  const { machine, log } = environment;
  machine.closeAtEnd({ close: () => image.close() });
  machine.closeAtEnd({ close: () => handOver[Symbol.dispose]() });
  const { device, transport } = await plugStore(image.store, environment);
  const { registers } = transport;
  const memory = machine.ram.regions();
  const handOver = new HandOver({ socket, device, image, registers, memory, loop: machine.loop, log });
  machine.closeAtEnd(handOver);
  return handOver;
}
