// Ground floor: a vhost-user front end: what a VMM says to a back end, in the order it says it. It knows no device.
import { UnixSocket } from '../../sys/unix-socket.ts';
import { splitQueueBytes } from '../../virtio/spec.ts';
import { BackEndError, FrontEndChannel } from './frontend-channel.ts';
import {
  encodeConfig,
  encodeRegion,
  encodeU64,
  encodeVringAddress,
  encodeVringState,
  type MemoryRegionMessage,
  type Message,
  REGION_BYTES,
} from './message.ts';
import {
  F_PROTOCOL_FEATURES,
  MEM_TABLE_REGIONS_MAX,
  NEED_REPLY,
  PROTOCOL_F_CONFIG,
  PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  PROTOCOL_F_MQ,
  PROTOCOL_F_REPLY_ACK,
  Request,
  requestName,
  VRING_NOFD,
} from './spec.ts';

export interface FrontEndOptions {
  /** How long to wait for each answer. 5 s unless said. */
  readonly timeoutMs?: number;
  /** The protocol features to use where they are offered: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS unless said. */
  readonly protocolFeatures?: bigint;
}

/** Memory to share: `sizeBytes` of a file, seen by the device from `guestAddress` on. */
export interface SharedRegion {
  readonly guestAddress: number;
  readonly sizeBytes: number;
  readonly fd: number;
  /** Where the region begins in the file. 0 unless said. */
  readonly mmapOffset?: number;
}

export interface QueueStart {
  readonly size: number;
  /** The available index to go on from. 0 unless said. */
  readonly base?: number;
  /** Guest addresses of the ring's three parts. */
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
  /** Descriptors of the eventfds; undefined: the back end, or we, shall poll. */
  readonly kickFd: number | undefined;
  readonly callFd: number | undefined;
}

/** Ring addresses are sent as ours, not the guest's. They differ, as in a VMM, so mixing them up shows at once. */
const USER_OFFSET = 0x7000_0000_0000;
/** { u32 offset, size, flags } */
const CONFIG_HEADER_BYTES = 12;
const DEFAULT_PROTOCOL_FEATURES =
  PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG | PROTOCOL_F_CONFIGURE_MEM_SLOTS;

export class VhostUserFrontEnd implements Disposable {
  /** For messages this class has no method for. */
  readonly channel: FrontEndChannel;
  /** The device's features, transport bits included. */
  readonly offeredFeatures: bigint;
  /** The protocol features in use: offered and wanted. */
  readonly protocolFeatures: bigint;
  /** How many queues the back end says it has; undefined when it does not say. */
  readonly queueCount: number | undefined;
  #regions: readonly SharedRegion[] = [];

  private constructor(channel: FrontEndChannel, wanted: bigint) {
    this.channel = channel;
    this.offeredFeatures = this.#askU64(Request.GET_FEATURES);
    if ((this.offeredFeatures & F_PROTOCOL_FEATURES) === 0n) this.protocolFeatures = 0n;
    else {
      this.protocolFeatures = this.#askU64(Request.GET_PROTOCOL_FEATURES) & wanted;
      channel.send(Request.SET_PROTOCOL_FEATURES, encodeU64(this.protocolFeatures));
    }
    this.queueCount = this.#uses(PROTOCOL_F_MQ) ? Number(this.#askU64(Request.GET_QUEUE_NUM)) : undefined;
    this.#command(Request.SET_OWNER);
  }

  /**
   * Connects and negotiates the protocol. It blocks its thread for each answer, so the back end lives in another.
   * Throws SystemError (nobody listens) or BackEndError.
   */
  static connect(path: string, options: FrontEndOptions = {}): VhostUserFrontEnd {
    return VhostUserFrontEnd.negotiate(UnixSocket.connect(path), options);
  }

  /** As `connect`, on a connected socket that belongs to the front end from now on. Throws BackEndError. */
  static negotiate(socket: UnixSocket, options: FrontEndOptions = {}): VhostUserFrontEnd {
    const channel = new FrontEndChannel(socket, options.timeoutMs ?? 5000);
    try {
      return new VhostUserFrontEnd(channel, options.protocolFeatures ?? DEFAULT_PROTOCOL_FEATURES);
    } catch (error) {
      channel[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads `sizeBytes` at `offset` of the device configuration space. Throws BackEndError. */
  readConfig(offset: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    this.#require(PROTOCOL_F_CONFIG, 'GET_CONFIG');
    const { payload } = this.channel.ask(Request.GET_CONFIG, encodeConfig(offset, new Uint8Array(sizeBytes)));
    // "vhost-user back-end uses zero length of payload to indicate an error"
    if (payload.byteLength === 0) throw new BackEndError('GET_CONFIG', 'refused it');
    // "payload size MUST match the front-end's request"
    if (payload.byteLength !== CONFIG_HEADER_BYTES + sizeBytes) {
      throw new BackEndError('GET_CONFIG', `answered ${payload.byteLength} bytes to a question for ${sizeBytes}`);
    }
    return new Uint8Array(payload.buffer, payload.byteOffset + CONFIG_HEADER_BYTES, sizeBytes);
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.#require(PROTOCOL_F_CONFIG, 'SET_CONFIG');
    this.#command(Request.SET_CONFIG, encodeConfig(offset, bytes));
  }

  /** Accepts features; the transport's own bit is added where it was offered. */
  setFeatures(features: bigint): void {
    this.#command(Request.SET_FEATURES, encodeU64(features | (this.offeredFeatures & F_PROTOCOL_FEATURES)));
  }

  /** Shares memory, all of it at once and before any queue is started. The descriptors stay the caller's. */
  shareMemory(regions: readonly SharedRegion[]): void {
    this.#regions = regions;
    if (this.#uses(PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
      const slots = Number(this.#askU64(Request.GET_MAX_MEM_SLOTS));
      if (regions.length > slots)
        throw new BackEndError('GET_MAX_MEM_SLOTS', `takes ${slots} regions, not ${regions.length}`);
      for (const region of regions) {
        const padded = new Uint8Array(8 + REGION_BYTES);
        padded.set(encodeRegion(regionMessage(region)), 8);
        this.#command(Request.ADD_MEM_REG, padded, [region.fd]);
      }
      return;
    }
    if (regions.length > MEM_TABLE_REGIONS_MAX) {
      throw new BackEndError('SET_MEM_TABLE', `takes ${MEM_TABLE_REGIONS_MAX} regions, not ${regions.length}`);
    }
    const table = new Uint8Array(8 + REGION_BYTES * regions.length);
    new DataView(table.buffer).setUint32(0, regions.length, true);
    regions.forEach((region, i) => {
      table.set(encodeRegion(regionMessage(region)), 8 + REGION_BYTES * i);
    });
    this.#command(
      Request.SET_MEM_TABLE,
      table,
      regions.map(({ fd }) => fd),
    );
  }

  /** Describes a queue, hands over its eventfds, enables it. Throws BackEndError; RangeError for memory not shared. */
  startQueue(index: number, queue: QueueStart): void {
    const parts = splitQueueBytes(queue.size);
    this.#command(Request.SET_VRING_NUM, encodeVringState(index, queue.size));
    this.#command(Request.SET_VRING_BASE, encodeVringState(index, queue.base ?? 0));
    this.#command(
      Request.SET_VRING_ADDR,
      encodeVringAddress(
        index,
        this.#userAddress(queue.descriptorTable, parts.descriptorTable),
        this.#userAddress(queue.usedRing, parts.usedRing),
        this.#userAddress(queue.availableRing, parts.availableRing),
      ),
    );
    this.#eventFd(Request.SET_VRING_CALL, index, queue.callFd);
    this.#eventFd(Request.SET_VRING_KICK, index, queue.kickFd);
    // Without the protocol features a ring "starts directly in the enabled state".
    if ((this.offeredFeatures & F_PROTOCOL_FEATURES) !== 0n) this.enableQueue(index, true);
  }

  enableQueue(index: number, enabled: boolean): void {
    this.#command(Request.SET_VRING_ENABLE, encodeVringState(index, enabled ? 1 : 0));
  }

  /** Stops a queue and gives the available index from which to go on. */
  stopQueue(index: number): number {
    const { payload } = this.channel.ask(Request.GET_VRING_BASE, encodeVringState(index, 0));
    if (payload.byteLength !== 8)
      throw new BackEndError('GET_VRING_BASE', `answered ${payload.byteLength} bytes, not 8`);
    return payload.getUint32(4, true);
  }

  #uses(feature: bigint): boolean {
    return (this.protocolFeatures & feature) !== 0n;
  }

  #require(feature: bigint, name: string): void {
    if (!this.#uses(feature)) throw new BackEndError(name, 'does not offer this protocol feature');
  }

  #eventFd(request: number, index: number, fd: number | undefined): void {
    const payload = encodeU64(BigInt(fd === undefined ? index | VRING_NOFD : index));
    this.#command(request, payload, fd === undefined ? [] : [fd]);
  }

  /** A message without an answer of its own: with REPLY_ACK it gets one, so that a refusal is heard of here and now. */
  #command(request: number, payload?: Uint8Array, fds?: readonly number[]): void {
    if (!this.#uses(PROTOCOL_F_REPLY_ACK)) {
      this.channel.send(request, payload, fds);
      return;
    }
    const answer = replyU64(this.channel.ask(request, payload, fds, NEED_REPLY));
    if (answer !== 0n) throw new BackEndError(requestName(request), `refused it (answer ${answer})`);
  }

  #askU64(request: number): bigint {
    return replyU64(this.channel.ask(request));
  }

  #userAddress(guestAddress: number, sizeBytes: number): number {
    const end = guestAddress + sizeBytes;
    const inside = this.#regions.some((r) => guestAddress >= r.guestAddress && end <= r.guestAddress + r.sizeBytes);
    if (!inside) throw new RangeError(`0x${guestAddress.toString(16)}, ${sizeBytes} bytes, is not in shared memory`);
    return guestAddress + USER_OFFSET;
  }

  [Symbol.dispose](): void {
    this.channel[Symbol.dispose]();
  }
}

function regionMessage(region: SharedRegion): MemoryRegionMessage {
  const { guestAddress, sizeBytes, mmapOffset = 0 } = region;
  return { guestAddress, sizeBytes, userAddress: guestAddress + USER_OFFSET, mmapOffset };
}

function replyU64({ request, payload }: Message): bigint {
  if (payload.byteLength !== 8)
    throw new BackEndError(requestName(request), `answered ${payload.byteLength} bytes, not 8`);
  return payload.getBigUint64(0, true);
}
