// Ground floor: what a VMM says to a vhost-user back end, in the order it says it. Others carry the messages, and wait.
import { splitQueueBytes } from '../../../virtio/spec.ts';
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

/** One message of the front end's. The descriptors stay whose they are. */
export interface Utterance {
  readonly request: number;
  readonly payload?: Uint8Array;
  readonly fds?: readonly number[];
  /** On top of the version. */
  readonly flags?: number;
  /** Whether an answer comes, which the next step of the dialogue is given. */
  readonly isQuestion: boolean;
}

/** Messages, each said when the question before it was answered. Throws BackEndError over an answer that is none. */
export type Dialogue<T> = Generator<Utterance, T, Message | undefined>;

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
  /** Rung by the back end when it gives the queue up; none unless said. */
  readonly errFd?: number | undefined;
}

/** Ring addresses are sent as ours, not the guest's. They differ, as in a VMM, so mixing them up shows at once. */
const USER_OFFSET = 0x7000_0000_0000;
/** { u32 offset, size, flags } */
const CONFIG_HEADER_BYTES = 12;
const DEFAULT_PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ | vu.PROTOCOL_F_REPLY_ACK | vu.PROTOCOL_F_CONFIG | vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS;

export class FrontEndDialogue {
  readonly #wanted: bigint;
  /** The device's features, transport bits included. */
  offeredFeatures = 0n;
  offeredProtocolFeatures = 0n;
  /** The protocol features in use: offered and wanted. */
  protocolFeatures = 0n;
  /** How many queues the back end says it has; undefined when it does not say. */
  queueCount: number | undefined;
  #regions: readonly SharedRegion[] = [];

  /** @param wanted the protocol features to use where they are offered: MQ, REPLY_ACK, CONFIG and CONFIGURE_MEM_SLOTS unless said. */
  constructor(wanted = DEFAULT_PROTOCOL_FEATURES) {
    this.#wanted = wanted;
  }

  /** Comes first. */
  *negotiate(): Dialogue<void> {
    this.offeredFeatures = yield* this.#askU64(Request.GET_FEATURES);
    if ((this.offeredFeatures & vu.F_PROTOCOL_FEATURES) !== 0n) {
      this.offeredProtocolFeatures = yield* this.#askU64(Request.GET_PROTOCOL_FEATURES);
      this.protocolFeatures = this.offeredProtocolFeatures & this.#wanted;
      yield* this.#say(Request.SET_PROTOCOL_FEATURES, encodeU64(this.protocolFeatures));
    }
    if (this.uses(vu.PROTOCOL_F_MQ)) this.queueCount = Number(yield* this.#askU64(Request.GET_QUEUE_NUM));
    yield* this.#command(Request.SET_OWNER);
  }

  /** Whether QEMU's libvhost-user answers, which alone offers these two whatever its device is. */
  get isLibvhostUser(): boolean {
    const both = vu.PROTOCOL_F_BACKEND_SEND_FD | vu.PROTOCOL_F_HOST_NOTIFIER;
    return (this.offeredProtocolFeatures & both) === both;
  }

  uses(protocolFeature: bigint): boolean {
    return (this.protocolFeatures & protocolFeature) !== 0n;
  }

  /** Reads `sizeBytes` at `offset` of the device configuration space. */
  *readConfig(offset: number, sizeBytes: number): Dialogue<Uint8Array<ArrayBuffer>> {
    this.#require(vu.PROTOCOL_F_CONFIG, 'GET_CONFIG');
    const { payload } = yield* this.#ask(Request.GET_CONFIG, encodeConfig(offset, new Uint8Array(sizeBytes)));
    // "vhost-user back-end uses zero length of payload to indicate an error"
    if (payload.byteLength === 0) throw new BackEndError('GET_CONFIG', 'refused it');
    // "payload size MUST match the front-end's request"
    if (payload.byteLength !== CONFIG_HEADER_BYTES + sizeBytes)
      throw new BackEndError('GET_CONFIG', `answered ${payload.byteLength} bytes to a question for ${sizeBytes}`);
    return new Uint8Array(payload.buffer, payload.byteOffset + CONFIG_HEADER_BYTES, sizeBytes);
  }

  *writeConfig(offset: number, bytes: Uint8Array): Dialogue<void> {
    this.#require(vu.PROTOCOL_F_CONFIG, 'SET_CONFIG');
    yield* this.#command(Request.SET_CONFIG, encodeConfig(offset, bytes));
  }

  /** Gives the back end a socket for messages of its own. */
  *giveBackEndSocket(fd: number): Dialogue<void> {
    yield* this.#command(Request.SET_BACKEND_REQ_FD, undefined, [fd]);
  }

  /** Accepts features; the transport's own bit is added where it was offered. */
  *setFeatures(features: bigint): Dialogue<void> {
    yield* this.#command(Request.SET_FEATURES, encodeU64(features | (this.offeredFeatures & vu.F_PROTOCOL_FEATURES)));
  }

  /** Shares memory in place of what was shared before, all of it at once, while no queue runs. */
  *shareMemory(regions: readonly SharedRegion[]): Dialogue<void> {
    const before = this.#regions;
    this.#regions = regions;
    if (!this.uses(vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS)) return yield* this.#setMemoryTable(regions);
    const slots = Number(yield* this.#askU64(Request.GET_MAX_MEM_SLOTS));
    if (regions.length > slots)
      throw new BackEndError('GET_MAX_MEM_SLOTS', `takes ${slots} regions, not ${regions.length}`);
    for (const region of before) yield* this.#command(Request.REM_MEM_REG, paddedRegion(region));
    for (const region of regions) yield* this.#command(Request.ADD_MEM_REG, paddedRegion(region), [region.fd]);
  }

  *#setMemoryTable(regions: readonly SharedRegion[]): Dialogue<void> {
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
    yield* this.#command(Request.SET_MEM_TABLE, table, fds);
  }

  /** Describes a queue, hands over its eventfds, enables it. Throws RangeError for memory not shared. */
  *startQueue(index: number, queue: QueueStart): Dialogue<void> {
    const parts = splitQueueBytes(queue.size);
    const address = encodeVringAddress(
      index,
      this.#userAddress(queue.descriptorTable, parts.descriptorTable),
      this.#userAddress(queue.usedRing, parts.usedRing),
      this.#userAddress(queue.availableRing, parts.availableRing),
    );
    yield* this.#command(Request.SET_VRING_NUM, encodeVringState(index, queue.size));
    yield* this.#command(Request.SET_VRING_BASE, encodeVringState(index, queue.base ?? 0));
    yield* this.#command(Request.SET_VRING_ADDR, address);
    if (queue.errFd !== undefined) yield* this.#eventFd(Request.SET_VRING_ERR, index, queue.errFd);
    yield* this.setCall(index, queue.callFd);
    yield* this.setKick(index, queue.kickFd);
    // Without the protocol features a ring "starts directly in the enabled state".
    if ((this.offeredFeatures & vu.F_PROTOCOL_FEATURES) !== 0n) yield* this.enableQueue(index, true);
  }

  *setKick(index: number, kickFd: number | undefined): Dialogue<void> {
    yield* this.#eventFd(Request.SET_VRING_KICK, index, kickFd);
  }

  *setCall(index: number, callFd: number | undefined): Dialogue<void> {
    yield* this.#eventFd(Request.SET_VRING_CALL, index, callFd);
  }

  *enableQueue(index: number, enabled: boolean): Dialogue<void> {
    yield* this.#command(Request.SET_VRING_ENABLE, encodeVringState(index, enabled ? 1 : 0));
  }

  /** Stops a queue and gives the available index from which to go on. */
  *stopQueue(index: number): Dialogue<number> {
    const { payload } = yield* this.#ask(Request.GET_VRING_BASE, encodeVringState(index, 0));
    if (payload.byteLength !== 8)
      throw new BackEndError('GET_VRING_BASE', `answered ${payload.byteLength} bytes, not 8`);
    return payload.getUint32(4, true);
  }

  /** Back to the beginning, where the back end can be told so. No queue runs. */
  *resetDevice(): Dialogue<void> {
    if (this.uses(vu.PROTOCOL_F_RESET_DEVICE)) yield* this.#command(Request.RESET_DEVICE);
  }

  /** Asks for memory to note requests in flight in, for rings up to `queueSize`. Its descriptor is the caller's. */
  *getInflight(queues: number, queueSize: number): Dialogue<InflightMessage & { readonly fd: number }> {
    const asked = encodeInflight({ mmapSize: 0, mmapOffset: 0, queues, queueSize });
    const { payload, fds } = yield* this.#ask(Request.GET_INFLIGHT_FD, asked);
    const inflight = decodeInflight(payload);
    const fd = fds[0];
    if (inflight === undefined || fd === undefined || fds.length > 1)
      throw new BackEndError('GET_INFLIGHT_FD', `answered ${payload.byteLength} bytes and ${fds.length} descriptors`);
    fds.length = 0;
    return { ...inflight, fd };
  }

  /** Gives the back end what it, or its predecessor, noted. Before any queue starts. */
  *setInflight({ fd, ...inflight }: InflightMessage & { readonly fd: number }): Dialogue<void> {
    yield* this.#command(Request.SET_INFLIGHT_FD, encodeInflight(inflight), [fd]);
  }

  #require(feature: bigint, name: string): void {
    if (!this.uses(feature)) throw new BackEndError(name, 'does not offer this protocol feature');
  }

  #eventFd(request: number, index: number, fd: number | undefined): Dialogue<void> {
    const payload = encodeU64(BigInt(fd === undefined ? index | vu.VRING_NOFD : index));
    return this.#command(request, payload, fd === undefined ? [] : [fd]);
  }

  *#say(request: number, payload?: Uint8Array, fds: readonly number[] = []): Dialogue<void> {
    yield { request, ...(payload && { payload }), fds, isQuestion: false };
  }

  /** A message without an answer of its own: with REPLY_ACK it gets one, so that a refusal is heard of here and now. */
  *#command(request: number, payload?: Uint8Array, fds: readonly number[] = []): Dialogue<void> {
    if (!this.uses(vu.PROTOCOL_F_REPLY_ACK)) return yield* this.#say(request, payload, fds);
    const answer = replyU64(yield* this.#ask(request, payload, fds, vu.NEED_REPLY));
    if (answer !== 0n) throw new BackEndError(vu.requestName(request), `refused it (answer ${answer})`);
  }

  *#ask(request: number, payload?: Uint8Array, fds: readonly number[] = [], flags = 0): Dialogue<Message> {
    return (yield { request, ...(payload && { payload }), fds, flags, isQuestion: true }) as Message;
  }

  *#askU64(request: number): Dialogue<bigint> {
    return replyU64(yield* this.#ask(request));
  }

  #userAddress(guestAddress: number, sizeBytes: number): number {
    const end = guestAddress + sizeBytes;
    const inside = this.#regions.some((r) => guestAddress >= r.guestAddress && end <= r.guestAddress + r.sizeBytes);
    if (!inside) throw new RangeError(`0x${guestAddress.toString(16)}, ${sizeBytes} bytes, is not in shared memory`);
    return guestAddress + USER_OFFSET;
  }
}

function regionMessage(region: SharedRegion): MemoryRegionMessage {
  const { guestAddress, sizeBytes, mmapOffset = 0 } = region;
  return { guestAddress, sizeBytes, userAddress: guestAddress + USER_OFFSET, mmapOffset };
}

/** { u64 padding; region }. */
function paddedRegion(region: SharedRegion): Uint8Array {
  const padded = new Uint8Array(8 + REGION_BYTES);
  padded.set(encodeRegion(regionMessage(region)), 8);
  return padded;
}

function replyU64({ request, payload }: Message): bigint {
  if (payload.byteLength !== 8)
    throw new BackEndError(vu.requestName(request), `answered ${payload.byteLength} bytes, not 8`);
  return payload.getBigUint64(0, true);
}
