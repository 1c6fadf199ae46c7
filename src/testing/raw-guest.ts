// testing: the guest of a raw front end: memory to share, and rings of disks in it with their eventfds.
import { ftruncateSync } from 'node:fs';
import { EventFd } from '../sys/event-fd.ts';
import { closeFd } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { createMemfd } from '../sys/memfd.ts';
import { encodeU64, encodeVringAddress, encodeVringState } from '../transports/vhost-user/protocol/message.ts';
import { Request, VRING_NOFD } from '../transports/vhost-user/protocol/spec.ts';
import { BlockDriver, type BlockResult } from './block-driver.ts';
import type { BlockRequest } from './block-request.ts';
import { DriverMemory } from './driver-memory.ts';
import { DriverQueue } from './driver-queue.ts';
import { eventually, type RawMessage, type RawRegion } from './raw-front-end.ts';

export interface RawGuestOptions {
  readonly sizeBytes?: number;
  readonly guestAddress?: number;
  /** Where the memory begins in its file. */
  readonly mmapOffset?: number;
  /** The file of the memory, which is extended and later closed by the guest. Default: a sealed memfd. */
  readonly file?: number;
}

/** User address minus guest address. Large, so that a back end that mixes them up fails at once. */
const USER_OFFSET = 0x7000_0000_0000;

/** Memory of a guest. Rings and buffers are allocated from `memory`. */
export class RawGuest implements Disposable {
  /** The file of the memory, which a front end shares. */
  readonly fd: number;
  /** The driver's allocator. */
  readonly memory: DriverMemory;
  /** As SET_MEM_TABLE describes it. */
  readonly region: RawRegion;
  readonly #mapping: Mapping;
  readonly #rings: RawRing[] = [];

  constructor({ sizeBytes = 1 << 20, guestAddress = 1 << 20, mmapOffset = 0, file }: RawGuestOptions = {}) {
    this.fd = file ?? createMemfd('raw-guest', mmapOffset + sizeBytes);
    if (file !== undefined) ftruncateSync(file, mmapOffset + sizeBytes);
    this.#mapping = Mapping.ofFile(this.fd, mmapOffset + sizeBytes);
    this.memory = new DriverMemory(this.#mapping.bytes.subarray(mmapOffset), guestAddress);
    this.region = { guestAddress, sizeBytes, userAddress: guestAddress + USER_OFFSET, mmapOffset, fd: this.fd };
  }

  /** Allocates a new ring in this memory. */
  ring(index: number, features: bigint, size = 16): RawRing {
    const ring = new RawRing(this.memory, index, features, size);
    this.#rings.push(ring);
    return ring;
  }

  [Symbol.dispose](): void {
    for (const ring of this.#rings) ring[Symbol.dispose]();
    this.#mapping[Symbol.dispose]();
    closeFd(this.fd);
  }
}

/** One ring of a disk: its driver, its eventfds, and the messages that set it up in a back end. */
export class RawRing implements Disposable {
  readonly index: number;
  readonly size: number;
  readonly driver: BlockDriver;
  readonly kick = EventFd.create();
  readonly call = EventFd.create();
  readonly err = EventFd.create();

  constructor(memory: DriverMemory, index: number, features: bigint, size: number) {
    this.index = index;
    this.size = size;
    this.driver = new BlockDriver(memory, new DriverQueue(memory, { size, features }));
  }

  get setNum(): RawMessage {
    return { request: Request.SET_VRING_NUM, payload: encodeVringState(this.index, this.size) };
  }

  setBase(base = 0): RawMessage {
    return { request: Request.SET_VRING_BASE, payload: encodeVringState(this.index, base) };
  }

  get setAddress(): RawMessage {
    const { descriptorArea, deviceArea, driverArea } = this.driver.queue.addresses;
    const parts = [descriptorArea, deviceArea, driverArea].map((address) => address + USER_OFFSET);
    const payload = encodeVringAddress(this.index, parts[0] as number, parts[1] as number, parts[2] as number);
    return { request: Request.SET_VRING_ADDR, payload };
  }

  get setKick(): RawMessage {
    return this.notifier(Request.SET_VRING_KICK, this.kick.fd);
  }

  get setCall(): RawMessage {
    return this.notifier(Request.SET_VRING_CALL, this.call.fd);
  }

  get setErr(): RawMessage {
    return this.notifier(Request.SET_VRING_ERR, this.err.fd);
  }

  /** SET_VRING_KICK, _CALL or _ERR with this descriptor, or with none. */
  notifier(request: number, fd: number | undefined): RawMessage {
    return fd === undefined
      ? { request, payload: encodeU64(BigInt(this.index | VRING_NOFD)) }
      : { request, payload: encodeU64(BigInt(this.index)), fds: [fd] };
  }

  enable(enabled = true): RawMessage {
    return { request: Request.SET_VRING_ENABLE, payload: encodeVringState(this.index, enabled ? 1 : 0) };
  }

  get getBase(): RawMessage {
    return { request: Request.GET_VRING_BASE, payload: encodeVringState(this.index, 0) };
  }

  /** The messages that start this ring, in QEMU's order. */
  start(base = 0): RawMessage[] {
    return [this.setNum, this.setBase(base), this.setAddress, this.setKick, this.setCall, this.enable()];
  }

  /** Puts requests into the ring and kicks if the device requested it. */
  submit(...requests: readonly BlockRequest[]): void {
    this.submitQuietly(...requests);
    if (this.driver.queue.needsKick()) this.kick.signal();
  }

  /** Puts requests into the ring without a kick. Requests a call for the first completion. */
  submitQuietly(...requests: readonly BlockRequest[]): void {
    this.driver.queue.requestCalls();
    for (const request of requests) this.driver.add(request);
    this.driver.queue.publish();
  }

  /** Waits until all requests are completed; returns the results. */
  async results(): Promise<BlockResult[]> {
    const all: BlockResult[] = [];
    await eventually(`${this.driver.inFlight} requests of queue ${this.index}`, () => {
      all.push(...this.driver.harvest());
      return this.driver.inFlight === 0;
    });
    return all;
  }

  /** Submits requests and waits for them. */
  async serve(...requests: readonly BlockRequest[]): Promise<BlockResult[]> {
    this.submit(...requests);
    return this.results();
  }

  [Symbol.dispose](): void {
    for (const eventFd of [this.kick, this.call, this.err]) eventFd[Symbol.dispose]();
  }
}
