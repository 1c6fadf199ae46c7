// vhost-user/front-end: the messages that a VMM sends to a vhost-user back end, as functions. A channel sends them and waits
// for answers.
import { closeReceived } from '../../../sys/received-fd.ts';
import type { RingAreas } from '../../../virtio/ring-format.ts';
import { splitQueueBytes } from '../../../virtio/split/split-format.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import {
  decodeInflight,
  encodeConfig,
  encodeInflight,
  encodeRegion,
  encodeU64,
  encodeVringAddress,
  encodeVringState,
  type InflightMessage,
  type MemoryRegionMessage,
  type Message,
  REGION_BYTES,
} from '../protocol/message.ts';
import * as vu from '../protocol/spec.ts';

const { Request } = vu;

/** One message of the front end's. The caller keeps the descriptors. */
export interface OutgoingMessage {
  readonly request: number;
  readonly payload?: Uint8Array;
  readonly fds?: readonly number[];
  /** Flags besides the version. */
  readonly flags?: number;
}

/** Sends messages to a back end. Both methods throw, or reject with, BackEndError. */
export interface Channel {
  /** Sends a message that has no answer. */
  tell(message: OutgoingMessage): void;
  /** Sends a message and returns its answer, whose descriptors the caller owns. */
  ask(message: OutgoingMessage): Message | Promise<Message>;
}

/** Memory to share: `sizeBytes` of a file, at `guestAddress`. */
export interface RegionToShare {
  readonly guestAddress: number;
  readonly sizeBytes: number;
  readonly fd: number;
  /** Where the region begins in the file. Default: 0. */
  readonly fileOffset?: number;
}

/** A queue to start. Areas are guest addresses. */
export interface QueueStart extends RingAreas {
  readonly size: number;
  /** Where to go on in the ring. Default: 0. */
  readonly base?: number;
  /** Descriptors of the eventfds. Without a kick eventfd the back end polls, without a call eventfd the driver does. */
  readonly kickFd: number | undefined;
  readonly callFd: number | undefined;
  /** Signalled by the back end when the queue breaks. Default: none. */
  readonly errFd?: number | undefined;
}

/** User address minus guest address. Not 0, as in a VMM, so that mixing them up fails at once. */
const USER_OFFSET = 0x7000_0000_0000;
/** { u32 offset, size, flags } */
const CONFIG_HEADER_BYTES = 12;
/** The vring index of kick and call messages has 8 bits. */
const QUEUES_MAX = 256;
/** MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS. */
export const DEFAULT_PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ | vu.PROTOCOL_F_REPLY_ACK | vu.PROTOCOL_F_CONFIG | vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS;

/** The requests of a front end, over a channel. Call `negotiate` first. */
export class FrontEndRequests {
  readonly #channel: Channel;
  readonly #wanted: bigint;
  /** The device's features, transport bits included. */
  offeredFeatures = 0n;
  offeredProtocolFeatures = 0n;
  /** The protocol features in use: offered and wanted. */
  protocolFeatures = 0n;
  /** The answer to GET_QUEUE_NUM, 1 to 256; undefined without PROTOCOL_F_MQ. */
  queueCount: number | undefined;
  #regions: readonly RegionToShare[] = [];

  /**
   * @param wanted the protocol features to use where offered. Default: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS.
   */
  constructor(channel: Channel, wanted = DEFAULT_PROTOCOL_FEATURES) {
    this.#channel = channel;
    this.#wanted = wanted;
  }

  /** Negotiates protocol features and sends SET_OWNER. Has to be called first. */
  async negotiate(): Promise<void> {
    this.offeredFeatures = await this.#askU64(Request.GET_FEATURES);
    if ((this.offeredFeatures & vu.F_PROTOCOL_FEATURES) !== 0n) {
      this.offeredProtocolFeatures = await this.#askU64(Request.GET_PROTOCOL_FEATURES);
      this.protocolFeatures = this.offeredProtocolFeatures & this.#wanted;
      const payload = encodeU64(this.protocolFeatures);
      this.#channel.tell({ request: Request.SET_PROTOCOL_FEATURES, payload });
    }
    if (this.uses(vu.PROTOCOL_F_MQ)) this.queueCount = await this.#askQueueCount();
    await this.#command(Request.SET_OWNER);
  }

  async #askQueueCount(): Promise<number> {
    const count = await this.#askU64(Request.GET_QUEUE_NUM);
    if (count >= 1n && count <= QUEUES_MAX) return Number(count);
    throw new BackEndError('GET_QUEUE_NUM', `says that it has ${count} queues; 1 to ${QUEUES_MAX} are possible`);
  }

  /** Whether the back end is QEMU's libvhost-user: only it offers these two for every device. */
  get isLibvhostUser(): boolean {
    const both = vu.PROTOCOL_F_BACKEND_SEND_FD | vu.PROTOCOL_F_HOST_NOTIFIER;
    return (this.offeredProtocolFeatures & both) === both;
  }

  /** Whether a protocol feature is offered and wanted. */
  uses(protocolFeature: bigint): boolean {
    return (this.protocolFeatures & protocolFeature) !== 0n;
  }

  /** Reads `sizeBytes` at `offset` of the device configuration space. */
  async readConfig(offset: number, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#require(vu.PROTOCOL_F_CONFIG, 'GET_CONFIG');
    const asked = encodeConfig(offset, new Uint8Array(sizeBytes));
    const { payload } = await this.#ask({ request: Request.GET_CONFIG, payload: asked });
    // "vhost-user back-end uses zero length of payload to indicate an error"
    if (payload.byteLength === 0) throw new BackEndError('GET_CONFIG', 'refused it');
    // "payload size MUST match the front-end's request"
    if (payload.byteLength !== CONFIG_HEADER_BYTES + sizeBytes)
      throw new BackEndError('GET_CONFIG', `answered ${payload.byteLength} bytes to a question for ${sizeBytes}`);
    return new Uint8Array(payload.buffer, payload.byteOffset + CONFIG_HEADER_BYTES, sizeBytes);
  }

  async writeConfig(offset: number, bytes: Uint8Array): Promise<void> {
    this.#require(vu.PROTOCOL_F_CONFIG, 'SET_CONFIG');
    await this.#command(Request.SET_CONFIG, encodeConfig(offset, bytes));
  }

  /** Sends the socket for messages of the back end's own. */
  async giveBackEndSocket(fd: number): Promise<void> {
    await this.#command(Request.SET_BACKEND_REQ_FD, undefined, [fd]);
  }

  /** Accepts features; adds VHOST_USER_F_PROTOCOL_FEATURES where it was offered. */
  async setFeatures(features: bigint): Promise<void> {
    await this.#command(Request.SET_FEATURES, encodeU64(features | (this.offeredFeatures & vu.F_PROTOCOL_FEATURES)));
  }

  /** Replaces the shared memory by these regions. No queue may run. */
  async shareMemory(regions: readonly RegionToShare[]): Promise<void> {
    const before = this.#regions;
    this.#regions = regions;
    if (!this.uses(vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS)) return await this.#setMemoryTable(regions);
    const slots = Number(await this.#askU64(Request.GET_MAX_MEM_SLOTS));
    if (regions.length > slots)
      throw new BackEndError('GET_MAX_MEM_SLOTS', `takes ${slots} regions, not ${regions.length}`);
    for (const region of before) await this.#command(Request.REM_MEM_REG, paddedRegion(region));
    for (const region of regions) await this.#command(Request.ADD_MEM_REG, paddedRegion(region), [region.fd]);
  }

  async #setMemoryTable(regions: readonly RegionToShare[]): Promise<void> {
    if (regions.length > vu.MEM_TABLE_REGIONS_MAX) {
      const problem = `takes ${vu.MEM_TABLE_REGIONS_MAX} regions, not ${regions.length}`;
      throw new BackEndError('SET_MEM_TABLE', problem);
    }
    const table = new Uint8Array(8 + REGION_BYTES * regions.length);
    new DataView(table.buffer).setUint32(0, regions.length, true);
    regions.forEach((region, i) => {
      table.set(encodeRegion(regionMessage(region)), 8 + REGION_BYTES * i);
    });
    const fds = regions.map(({ fd }) => fd);
    await this.#command(Request.SET_MEM_TABLE, table, fds);
  }

  /** Sets a queue up, passes its eventfds and enables it. Rejects with RangeError for memory that is not shared. */
  async startQueue(index: number, queue: QueueStart): Promise<void> {
    const bytes = splitQueueBytes(queue.size);
    const address = encodeVringAddress(
      index,
      this.#userAddress(queue.descriptorArea, bytes.descriptorArea),
      this.#userAddress(queue.deviceArea, bytes.deviceArea),
      this.#userAddress(queue.driverArea, bytes.driverArea),
    );
    await this.#command(Request.SET_VRING_NUM, encodeVringState(index, queue.size));
    await this.#command(Request.SET_VRING_BASE, encodeVringState(index, queue.base ?? 0));
    await this.#command(Request.SET_VRING_ADDR, address);
    if (queue.errFd !== undefined) await this.#eventFd(Request.SET_VRING_ERR, index, queue.errFd);
    await this.setCall(index, queue.callFd);
    await this.setKick(index, queue.kickFd);
    // Without the protocol features a ring "starts directly in the enabled state".
    if ((this.offeredFeatures & vu.F_PROTOCOL_FEATURES) !== 0n) await this.enableQueue(index, true);
  }

  async setKick(index: number, kickFd: number | undefined): Promise<void> {
    await this.#eventFd(Request.SET_VRING_KICK, index, kickFd);
  }

  async setCall(index: number, callFd: number | undefined): Promise<void> {
    await this.#eventFd(Request.SET_VRING_CALL, index, callFd);
  }

  async enableQueue(index: number, enabled: boolean): Promise<void> {
    await this.#command(Request.SET_VRING_ENABLE, encodeVringState(index, enabled ? 1 : 0));
  }

  /** Stops a queue and returns where to go on in its ring. */
  async stopQueue(index: number): Promise<number> {
    const { payload } = await this.#ask({ request: Request.GET_VRING_BASE, payload: encodeVringState(index, 0) });
    if (payload.byteLength !== 8)
      throw new BackEndError('GET_VRING_BASE', `answered ${payload.byteLength} bytes, not 8`);
    return payload.getUint32(4, true);
  }

  /** Resets the device, if the back end has RESET_DEVICE. No queue may run. */
  async resetDevice(): Promise<void> {
    if (this.uses(vu.PROTOCOL_F_RESET_DEVICE)) await this.#command(Request.RESET_DEVICE);
  }

  /** Gets an inflight area for rings up to `queueSize`. The caller owns its descriptor. */
  async getInflight(queues: number, queueSize: number): Promise<InflightMessage & { readonly fd: number }> {
    const payload = encodeInflight({ mmapSize: 0, mmapOffset: 0, queues, queueSize });
    const answer = await this.#channel.ask({ request: Request.GET_INFLIGHT_FD, payload });
    const [fd, ...others] = answer.fds;
    const inflight = decodeInflight(answer.payload);
    if (inflight !== undefined && fd !== undefined && others.length === 0) return { ...inflight, fd };
    for (const one of answer.fds) closeReceived(one);
    const got = `${answer.payload.byteLength} bytes and ${answer.fds.length} descriptors`;
    throw new BackEndError('GET_INFLIGHT_FD', `answered ${got}`);
  }

  /** Passes the inflight area of this back end or the one before it. Before any queue starts. */
  async setInflight({ fd, ...inflight }: InflightMessage & { readonly fd: number }): Promise<void> {
    await this.#command(Request.SET_INFLIGHT_FD, encodeInflight(inflight), [fd]);
  }

  #require(feature: bigint, name: string): void {
    if (!this.uses(feature)) throw new BackEndError(name, 'does not offer this protocol feature');
  }

  async #eventFd(request: number, index: number, fd: number | undefined): Promise<void> {
    const payload = encodeU64(BigInt(fd === undefined ? index | vu.VRING_NOFD : index));
    await this.#command(request, payload, fd === undefined ? [] : [fd]);
  }

  /**
   * Sends a message without an answer of its own. With REPLY_ACK, requests an acknowledgement and throws for a refusal.
   */
  async #command(request: number, payload?: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const message = { request, ...(payload && { payload }), fds };
    if (!this.uses(vu.PROTOCOL_F_REPLY_ACK)) return this.#channel.tell(message);
    const answer = replyU64(await this.#ask({ ...message, flags: vu.NEED_REPLY }));
    if (answer !== 0n) throw new BackEndError(vu.requestName(request), `refused it (answer ${answer})`);
  }

  /** For answers that have no descriptors: closes any that come. */
  async #ask(question: OutgoingMessage): Promise<Message> {
    const answer = await this.#channel.ask(question);
    for (const fd of answer.fds.splice(0)) closeReceived(fd);
    return answer;
  }

  async #askU64(request: number): Promise<bigint> {
    return replyU64(await this.#ask({ request }));
  }

  #userAddress(guestAddress: number, sizeBytes: number): number {
    const end = guestAddress + sizeBytes;
    const inside = this.#regions.some((r) => guestAddress >= r.guestAddress && end <= r.guestAddress + r.sizeBytes);
    if (!inside) throw new RangeError(`0x${guestAddress.toString(16)}, ${sizeBytes} bytes, is not in shared memory`);
    return guestAddress + USER_OFFSET;
  }
}

function regionMessage(region: RegionToShare): MemoryRegionMessage {
  const { guestAddress, sizeBytes, fileOffset = 0 } = region;
  return { guestAddress, sizeBytes, userAddress: guestAddress + USER_OFFSET, mmapOffset: fileOffset };
}

/** { u64 padding; region }. */
function paddedRegion(region: RegionToShare): Uint8Array {
  const padded = new Uint8Array(8 + REGION_BYTES);
  padded.set(encodeRegion(regionMessage(region)), 8);
  return padded;
}

function replyU64({ request, payload }: Message): bigint {
  if (payload.byteLength !== 8)
    throw new BackEndError(vu.requestName(request), `answered ${payload.byteLength} bytes, not 8`);
  return payload.getBigUint64(0, true);
}
