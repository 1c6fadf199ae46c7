// testing: a driver over vhost-user: sends the messages of a VMM to a back end in this process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServedDevice } from '../daemon/served-device.ts';
import { serve } from '../serve.ts';
import { EventFd } from '../sys/event-fd.ts';
import { UnixSocket } from '../sys/unix-socket.ts';
import { PROTOCOL_FEATURES } from '../transports/vhost-user/back-end/session.ts';
import {
  encodeConfig,
  encodeU64,
  encodeVringAddress,
  encodeVringState,
} from '../transports/vhost-user/protocol/message.ts';
import { F_LOG_ALL, F_PROTOCOL_FEATURES, Request } from '../transports/vhost-user/protocol/spec.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import type { RingAreas } from '../virtio/ring-format.ts';
import { QUEUE_SIZE_MAX } from '../virtio/spec.ts';
import { RawFrontEnd, type RawMessage, setMemTable, setU64 } from './raw-front-end.ts';
import type { RawGuest } from './raw-guest.ts';
import type { TransportDriver } from './transport-driver.ts';

interface Ring {
  readonly kick: EventFd;
  readonly call: EventFd;
  readonly err: EventFd;
  broken: boolean;
}

/** Drives a device through a vhost-user connection to `serve` in this process. */
export class VhostUserDriver implements TransportDriver {
  readonly lines: string[] = [];
  readonly #guest: RawGuest;
  readonly #folder = mkdtempSync(join(tmpdir(), 'belfry-vhost-user-'));
  readonly #path = join(this.#folder, 'device.sock');
  readonly #server: ServedDevice;
  readonly #rings = new Map<number, Ring>();
  #front: RawFrontEnd | undefined;
  /** Receives the messages that the back end sends by itself. */
  #requests: RawFrontEnd | undefined;
  #queues = 0;

  constructor(device: VirtioDevice, guest: RawGuest) {
    this.#guest = guest;
    this.#server = serve(device, { vhostUser: this.#path, log: (line) => this.lines.push(line) });
  }

  /** Returns the connection; makes and negotiates a new one if the last one has ended. */
  async #connected(): Promise<RawFrontEnd> {
    if (this.#front !== undefined) return this.#front;
    const front = RawFrontEnd.connect(this.#path);
    this.#front = front;
    await front.askU64({ request: Request.GET_FEATURES });
    await front.askU64({ request: Request.GET_PROTOCOL_FEATURES });
    front.send(setU64(Request.SET_PROTOCOL_FEATURES, PROTOCOL_FEATURES));
    this.#queues = Number(await front.askU64({ request: Request.GET_QUEUE_NUM }));
    front.send({ request: Request.SET_OWNER });
    const [ours, theirs] = UnixSocket.pair();
    this.#requests = RawFrontEnd.adopt(ours.fd);
    await front.acknowledged({ request: Request.SET_BACKEND_REQ_FD, fds: [theirs.fd] });
    theirs[Symbol.dispose]();
    await front.acknowledged(setMemTable([this.#guest.region]));
    return front;
  }

  /** Sends one message; returns whether it was accepted. After a refusal the session is over. */
  async #send(message: RawMessage): Promise<boolean> {
    const front = await this.#connected();
    if ((await front.acknowledged(message)) === 0n) return true;
    await front.closedByPeer();
    this.#disconnect();
    return false;
  }

  #disconnect(): void {
    this.#front?.[Symbol.dispose]();
    this.#requests?.[Symbol.dispose]();
    this.#front = this.#requests = undefined;
    this.#forgetRings();
  }

  #forgetRings(): void {
    for (const { kick, call, err } of this.#rings.values())
      for (const eventFd of [kick, call, err]) eventFd[Symbol.dispose]();
    this.#rings.clear();
  }

  async offered(): Promise<bigint> {
    const front = await this.#connected();
    return (await front.askU64({ request: Request.GET_FEATURES })) & ~(F_PROTOCOL_FEATURES | F_LOG_ALL);
  }

  accept(features: bigint): Promise<boolean> {
    return this.#send(setU64(Request.SET_FEATURES, features | F_PROTOCOL_FEATURES));
  }

  async queueSizeMax(index: number): Promise<number> {
    await this.#connected();
    return index < this.#queues ? QUEUE_SIZE_MAX : 0;
  }

  async setUp(index: number, size: number, addresses: RingAreas): Promise<boolean> {
    const offset = this.#guest.region.userAddress - this.#guest.region.guestAddress;
    const { descriptorArea, deviceArea, driverArea } = addresses;
    const parts = [descriptorArea, deviceArea, driverArea].map((address) => address + offset);
    const address = encodeVringAddress(index, parts[0] as number, parts[1] as number, parts[2] as number);
    const ring = { kick: EventFd.create(), call: EventFd.create(), err: EventFd.create(), broken: false };
    this.#rings.set(index, ring);
    const messages: RawMessage[] = [
      { request: Request.SET_VRING_NUM, payload: encodeVringState(index, size) },
      { request: Request.SET_VRING_BASE, payload: encodeVringState(index, 0) },
      { request: Request.SET_VRING_ADDR, payload: address },
      { request: Request.SET_VRING_KICK, payload: encodeU64(BigInt(index)), fds: [ring.kick.fd] },
      { request: Request.SET_VRING_CALL, payload: encodeU64(BigInt(index)), fds: [ring.call.fd] },
      { request: Request.SET_VRING_ERR, payload: encodeU64(BigInt(index)), fds: [ring.err.fd] },
    ];
    for (const message of messages) if (!(await this.#send(message))) return false;
    return true;
  }

  async start(): Promise<void> {
    for (const index of this.#rings.keys())
      await this.#send({ request: Request.SET_VRING_ENABLE, payload: encodeVringState(index, 1) });
  }

  kick(index: number): void {
    this.#rings.get(index)?.kick.signal();
  }

  tookUsedInterrupt(index: number): boolean {
    return this.#rings.get(index)?.call.clear() ?? false;
  }

  tookConfigInterrupt(): boolean {
    const came = this.#requests?.isSilent() === false;
    if (came) this.#requests?.skim();
    return came;
  }

  async readConfig(offset: number, sizeBytes: 1 | 2 | 4): Promise<number> {
    const front = await this.#connected();
    const payload = encodeConfig(offset, new Uint8Array(sizeBytes));
    const answer = await front.ask({ request: Request.GET_CONFIG, payload });
    const at = answer.payload.byteLength - sizeBytes;
    if (sizeBytes === 1) return answer.payload.getUint8(at);
    return sizeBytes === 2 ? answer.payload.getUint16(at, true) : answer.payload.getUint32(at, true);
  }

  async writeConfig(offset: number, sizeBytes: 1 | 2 | 4, value: number): Promise<void> {
    const front = await this.#connected();
    const bytes = Uint8Array.from({ length: sizeBytes }, (_, i) => value >>> (8 * i));
    await front.acknowledged({ request: Request.SET_CONFIG, payload: encodeConfig(offset, bytes) });
  }

  async isBroken(index: number): Promise<boolean> {
    const ring = this.#rings.get(index);
    if (ring?.err.clear()) ring.broken = true;
    return ring?.broken ?? false;
  }

  async reset(): Promise<void> {
    const front = await this.#connected();
    await front.acknowledged({ request: Request.RESET_DEVICE });
    this.#forgetRings();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disconnect();
    await this.#server.close();
    rmSync(this.#folder, { recursive: true });
  }
}
