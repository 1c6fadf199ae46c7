// virtio-vsock: the receive queue: connections that have something to send take turns, a packet each; and replies to
// packets of no connection.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import type { Connection } from './connection.ts';
import { newHeader, type PacketHeader, writeHeader } from './packet-header.ts';
import { CID_HOST, HEADER_BYTES, VIRTIO_VSOCK_OP_RST } from './spec.ts';

/** Replies that wait for buffers. While there are as many, no packet of the guest is processed, §5.10.6.1.2. */
export const REPLIES_MAX = 256;
/** Packets of one turn, so that other queues have theirs. */
const PACKETS_A_TURN = 128;

/** A packet of the guest that belongs to no connection. */
interface Stray {
  readonly guestCid: number;
  readonly guestPort: number;
  readonly hostCid: number;
  readonly hostPort: number;
  readonly type: number;
}

/** Fills the buffers of the guest. */
export class VsockReceive {
  readonly #replies: Stray[] = [];
  readonly #header = newHeader();
  #queue: DeviceQueue | undefined;
  /** Taken and not used yet. */
  #buffer: DescriptorChain | undefined;
  #first: Connection | undefined;
  #last: Connection | undefined;
  #isDelivering = false;
  /** The queue was not started since the reset. */
  #isNew = true;
  readonly #onOldRing: () => void;
  /** Bytes of all packets so far, without headers. */
  sentBytes = 0;

  /** @param onOldRing called where a driver's queue does not start at the beginning of its ring: another device had it. */
  constructor(onOldRing: () => void) {
    this.#onOldRing = onOldRing;
  }

  started(queue: DeviceQueue): void {
    this.#queue = queue;
    if (this.#isNew && queue.base !== 0) this.#onOldRing();
    this.#isNew = false;
  }

  /** Puts the buffer back into the ring, unused. What is to be sent waits for the next start. */
  stopping(): void {
    if (this.#buffer !== undefined) this.#queue?.untake(this.#buffer);
    this.#buffer = this.#queue = undefined;
  }

  get isFull(): boolean {
    return this.#replies.length >= REPLIES_MAX;
  }

  /** Nothing is to be sent any more. */
  clear(): void {
    this.#replies.length = 0;
    while (this.#shift() !== undefined);
  }

  /** The device was reset: another driver comes, or the same one with a new ring. */
  reset(): void {
    this.clear();
    this.#isNew = true;
  }

  /** Replies with RST to a packet of no connection, unless it is one itself. */
  refuse({ srcCid, srcPort, dstCid, dstPort, type, op }: PacketHeader): void {
    if (op === VIRTIO_VSOCK_OP_RST) return;
    this.#replies.push({ guestCid: srcCid, guestPort: srcPort, hostCid: dstCid, hostPort: dstPort, type });
  }

  /** Adds a connection to those that have something to send. */
  add(connection: Connection): void {
    if (connection.isListed) return;
    connection.isListed = true;
    if (this.#last === undefined) this.#first = connection;
    else this.#last.next = connection;
    this.#last = connection;
  }

  #shift(): Connection | undefined {
    const connection = this.#first;
    if (connection === undefined) return undefined;
    this.#first = connection.next;
    if (this.#first === undefined) this.#last = undefined;
    connection.next = undefined;
    connection.isListed = false;
    return connection;
  }

  /** Sends what there is, as far as there are buffers. The driver sees it with the next `publish`. */
  deliver(): void {
    const queue = this.#queue;
    // An endpoint may call `ready` while it is read.
    if (queue === undefined || this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      for (let packets = 0; this.#hasBuffer(queue); packets++) {
        if (packets >= PACKETS_A_TURN) {
          queue.again();
          break;
        }
        if (!this.#sendOne(queue)) break;
      }
    } finally {
      this.#isDelivering = false;
    }
  }

  publish(): void {
    this.#queue?.publish();
  }

  #hasBuffer(queue: DeviceQueue): boolean {
    this.#buffer ??= queue.take();
    return this.#buffer !== undefined;
  }

  /** Uses the buffer for one packet, or returns it where it has no room for any. Returns false where there is nothing. */
  #sendOne(queue: DeviceQueue): boolean {
    const buffer = this.#buffer as DescriptorChain;
    if (buffer.writable.totalBytes < HEADER_BYTES) return this.#used(queue, 0);
    const reply = this.#replies.shift();
    if (reply !== undefined) return this.#used(queue, this.#reset(buffer, reply));
    for (let connection = this.#shift(); connection !== undefined; connection = this.#shift()) {
      const bytes = connection.fill(buffer.writable, this.#header);
      if (connection.hasMore) this.add(connection);
      if (bytes !== 0) return this.#used(queue, bytes ?? 0);
    }
    return false;
  }

  #used(queue: DeviceQueue, bytes: number): true {
    queue.markUsed(this.#buffer as DescriptorChain, bytes);
    this.sentBytes += Math.max(0, bytes - HEADER_BYTES);
    this.#buffer = undefined;
    return true;
  }

  #reset(buffer: DescriptorChain, stray: Stray): number {
    const header = this.#header;
    header.srcCid = stray.hostCid <= 0xffff_ffff ? stray.hostCid : CID_HOST;
    header.dstCid = stray.guestCid;
    header.srcPort = stray.hostPort;
    header.dstPort = stray.guestPort;
    header.type = stray.type;
    header.op = VIRTIO_VSOCK_OP_RST;
    header.len = header.flags = header.bufAlloc = header.fwdCnt = 0;
    writeHeader(buffer.writable, header);
    return HEADER_BYTES;
  }
}
