// virtio-vsock: one connection: its state, its credit, and what it has to send. §5.10.6.3 to §5.10.6.6.
import { causeOf } from '../../virtio/maybe-promise.ts';
import type { Segments } from '../../virtio/segments.ts';
import * as own from './connection-owner.ts';
import { Credit } from './credit.ts';
import { addressTo, type PacketHeader, writeHeader } from './packet-header.ts';
import { found, readBytes } from './read-bytes.ts';
import { ReceivedBytes } from './received-bytes.ts';
import * as spec from './spec.ts';
import type { VsockConnection, VsockEndpoint, VsockType } from './vsock-port.ts';

/** A connection between a port of the guest and an endpoint. */
export class Connection implements VsockConnection {
  readonly type: VsockType;
  readonly guestCid: number;
  readonly guestPort: number;
  readonly hostPort: number;
  readonly credit: Credit;
  /** The next one in the list of those that have something to send; for the list. */
  next: Connection | undefined;
  isListed = false;
  readonly #owner: own.ConnectionOwner<Connection>;
  readonly #received: ReceivedBytes;
  #endpoint: VsockEndpoint | undefined;
  #state: own.State = 'open';
  /** No endpoint has it yet: the port is being asked. */
  #isNew = true;
  #pending = 0;
  /** `ready` was called, and `read` has not returned undefined since. */
  #isReady = false;
  #isCreditRequested = false;
  /** What the guest, and what we, will not do any more: bits VIRTIO_VSOCK_SHUTDOWN_F_…. */
  #peerShutdown = 0;
  #ourShutdown = 0;
  #isEndPassed = false;
  #timer: Disposable | undefined;

  constructor(
    header: { readonly guestCid: number; readonly guestPort: number; readonly hostPort: number },
    type: VsockType,
    bufAlloc: number,
    owner: own.ConnectionOwner<Connection>,
  ) {
    this.guestCid = header.guestCid;
    this.guestPort = header.guestPort;
    this.hostPort = header.hostPort;
    this.type = type;
    this.credit = new Credit(bufAlloc);
    this.#owner = owner;
    this.#received = new ReceivedBytes(type === 'seqpacket', bufAlloc);
  }

  /** The guest asked, and the endpoint accepted. */
  accepted(endpoint: VsockEndpoint): void {
    this.#isNew = false;
    this.#endpoint = endpoint;
    this.#send(own.RESPONSE);
  }

  /** The host asks. */
  request(endpoint: VsockEndpoint): void {
    this.#isNew = false;
    this.#endpoint = endpoint;
    this.#state = 'waiting';
    this.#timer = this.#owner.timer(own.CONNECT_MS, () => this.#over('the guest did not answer'));
    this.#send(own.REQUEST);
  }

  /** Whether it is over, for the device: a port may end what it is asked for. */
  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  get isWaiting(): boolean {
    return this.#isReady && this.#state === 'open';
  }

  ready(): void {
    this.#isReady = true;
    if (this.hasMore) this.#owner.wants(this);
    else if (this.#canSend && this.credit.room === 0) this.#requestCredit();
  }

  resume(): void {
    if (this.#endpoint === undefined || this.#state === 'closed') return;
    this.#guarded((endpoint) => this.credit.taken(this.#received.pump(endpoint)));
    this.#afterTaking();
  }

  reset(): void {
    this.#endpoint = undefined;
    if (this.#isNew) this.#state = 'closed';
    this.#over(undefined);
  }

  close(): void {
    this.#endpoint = undefined;
    this.#received.clear();
    if (this.#isNew) this.#state = 'closed';
    if (this.#state === 'closed' || this.#state === 'draining') return this.#finish();
    if (this.#state === 'waiting') return this.#over(undefined);
    this.#closeBoth();
  }

  get #canSend(): boolean {
    return (
      this.#endpoint !== undefined &&
      this.#state === 'open' &&
      this.#isReady &&
      (this.#ourShutdown & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) === 0
    );
  }

  /** Whether there is a packet to send now. */
  get hasMore(): boolean {
    return this.#pending !== 0 || (this.#canSend && this.credit.room > 0);
  }

  #send(bit: number): void {
    this.#pending |= bit;
    this.#owner.wants(this);
  }

  #requestCredit(): void {
    if (this.#isCreditRequested) return;
    this.#isCreditRequested = true;
    this.#send(own.CREDIT_REQUEST);
  }

  /** A packet of the guest. */
  handle(header: PacketHeader, packet: Segments): void {
    if (!this.credit.heard(header.bufAlloc, header.fwdCnt)) return this.#over('the guest took more than it was sent');
    if (this.credit.room > 0) {
      this.#isCreditRequested = false;
      this.#pending &= ~own.CREDIT_REQUEST;
    }
    if (header.op === spec.VIRTIO_VSOCK_OP_RST) return this.#peerReset();
    if (this.#state === 'waiting') return this.#answered(header.op);
    if (header.op === spec.VIRTIO_VSOCK_OP_RW) this.#data(header, packet);
    else if (header.op === spec.VIRTIO_VSOCK_OP_SHUTDOWN) this.#peerShuts(header.flags);
    else if (header.op === spec.VIRTIO_VSOCK_OP_CREDIT_REQUEST) this.#send(own.CREDIT_UPDATE);
    else if (header.op !== spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE)
      return this.#over(`the guest sent operation ${header.op} on an open connection`);
    if (this.hasMore) this.#owner.wants(this);
  }

  #answered(op: number): void {
    if (op !== spec.VIRTIO_VSOCK_OP_RESPONSE) return this.#over(`the guest answered with operation ${op}`);
    this.#stopTimer();
    this.#state = 'open';
    this.#guarded((endpoint) => endpoint.connected?.());
    if (this.hasMore) this.#owner.wants(this);
  }

  #data(header: PacketHeader, packet: Segments): void {
    const { len, flags } = header;
    if (len > own.PACKET_BYTES_MAX || spec.HEADER_BYTES + len > packet.totalBytes)
      return this.#over(`the guest sent a packet of ${len} bytes in a buffer of ${packet.totalBytes}`);
    if ((this.#peerShutdown & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0)
      return this.#over('the guest sent bytes after it said that it sends no more');
    if (!this.credit.received(len)) return this.#over('the guest sent more than it has credit for');
    // Sent before the guest knew that nothing is received any more.
    if (this.#endpoint === undefined) return this.credit.taken(len);
    const isEnd = (flags & spec.VIRTIO_VSOCK_SEQ_EOM) !== 0;
    let taken: number | undefined = 0;
    try {
      taken = this.#received.add(packet, spec.HEADER_BYTES, spec.HEADER_BYTES + len, isEnd, this.#endpoint);
    } catch (error) {
      return this.#failed(error);
    }
    if (taken === undefined) return this.#over('the guest sent more messages than are kept');
    this.credit.taken(taken);
    this.#afterTaking();
  }

  #afterTaking(): void {
    if (this.#state === 'closed') return;
    if (this.credit.isUpdateDue && this.#state === 'open') this.#send(own.CREDIT_UPDATE);
    if ((this.#peerShutdown & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) === 0 || !this.#received.isDrained) return;
    if (!this.#isEndPassed) {
      this.#isEndPassed = true;
      this.#guarded((endpoint) => endpoint.ended());
    }
    if ((this.#state as own.State) === 'closed') return;
    if (this.#state === 'draining') return this.#finish();
    // §5.10.6.5: "… no more data will be sent and received, followed by a VIRTIO_VSOCK_OP_RST response from the peer."
    if (this.#peerShutdown === spec.SHUTDOWN_BOTH) this.#over(undefined);
    else if ((this.#ourShutdown & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0) this.#closeBoth();
  }

  #peerShuts(flags: number): void {
    const before = this.#peerShutdown;
    this.#peerShutdown |= flags & spec.SHUTDOWN_BOTH;
    if ((this.#peerShutdown & ~before & spec.VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) !== 0) {
      this.#isReady = false;
      this.#ourShutdown |= spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND;
      if (this.#peerShutdown !== spec.SHUTDOWN_BOTH) this.#guarded((endpoint) => endpoint.refused?.());
    }
    if (this.#endpoint === undefined && this.#peerShutdown === spec.SHUTDOWN_BOTH) this.#over(undefined);
    else this.#afterTaking();
  }

  /** Both directions have ended here: the guest confirms it with RST, or is reset. */
  #closeBoth(): void {
    if (this.#ourShutdown === spec.SHUTDOWN_BOTH) return;
    const endpoint = this.#endpoint;
    this.#endpoint = undefined;
    this.#ourShutdown = spec.SHUTDOWN_BOTH;
    this.#isReady = false;
    this.#timer ??= this.#owner.timer(own.CLOSE_MS, () => this.#over(undefined));
    this.#send(own.SHUTDOWN);
    endpoint?.closed();
    if (this.#peerShutdown === spec.SHUTDOWN_BOTH) this.#over(undefined);
  }

  #peerReset(): void {
    this.#pending = 0;
    this.#stopTimer();
    this.#owner.forget(this);
    const isClean = (this.#peerShutdown & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0;
    if (isClean && !this.#received.isDrained && this.#endpoint !== undefined) {
      // The guest has waited long enough for a slow endpoint, which gets the rest.
      this.#state = 'draining';
      return;
    }
    const why = this.#state === 'waiting' ? 'the guest refused it' : 'the guest reset it';
    this.#finish(isClean || this.#ourShutdown === spec.SHUTDOWN_BOTH ? undefined : why);
  }

  /** Ends it with RST. `why` is absent where that is clean. */
  #over(why: string | undefined): void {
    if (this.#state === 'closed') return;
    this.#owner.forget(this);
    // A REQUEST that was not sent needs no RST, but one that was read by the guest does: RST does no harm.
    this.#pending = own.RST;
    this.#end(why);
    this.#owner.wants(this);
  }

  #finish(why?: string): void {
    if (this.#state === 'closed') return;
    this.#end(why);
    this.#owner.release(this);
  }

  #end(why: string | undefined): void {
    this.#state = 'closed';
    this.#isReady = false;
    this.#stopTimer();
    this.#received.clear();
    const endpoint = this.#endpoint;
    this.#endpoint = undefined;
    try {
      endpoint?.closed(why);
    } catch (error) {
      this.#owner.log(`vsock: port ${this.hostPort}: ${causeOf(error)}`);
    }
  }

  /** The device was reset: nothing is sent. */
  drop(): void {
    this.#pending = 0;
    this.#owner.forget(this);
    this.#finish('the guest was reset');
  }

  #stopTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Runs code of the endpoint: what it throws ends this connection, and no other. */
  #guarded(run: (endpoint: VsockEndpoint) => void): void {
    const endpoint = this.#endpoint;
    if (endpoint === undefined) return;
    try {
      run(endpoint);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#owner.log(`vsock: port ${this.hostPort}: the connection is reset: ${causeOf(error)}`);
    this.#over(causeOf(error));
  }

  /** Writes the next packet. Returns its bytes; 0 where there is none, undefined where the buffer has no room for it. */
  fill(buffer: Segments, header: PacketHeader): number | undefined {
    for (const [bit, op] of own.BEFORE_DATA)
      if ((this.#pending & bit) !== 0) return this.#control(bit, op, buffer, header);
    if (this.#canSend && this.credit.room > 0) {
      const end = Math.min(buffer.totalBytes, spec.HEADER_BYTES + own.PACKET_BYTES_MAX);
      if (end === spec.HEADER_BYTES) return undefined;
      const length = this.#read(buffer, Math.min(end, spec.HEADER_BYTES + this.credit.room));
      if (length >= 0) return this.#write(buffer, header, spec.VIRTIO_VSOCK_OP_RW, length);
    }
    for (const [bit, op] of own.AFTER_DATA)
      if ((this.#pending & bit) !== 0) return this.#control(bit, op, buffer, header);
    return 0;
  }

  /** Reads bytes of the endpoint into a buffer, up to `end`. Returns how many, -1 where there are none. */
  #read(buffer: Segments, end: number): number {
    let length = 0;
    try {
      length = readBytes(this.#endpoint as VsockEndpoint, this.type === 'seqpacket', buffer, end);
    } catch (error) {
      this.#failed(error);
    }
    if (this.#state !== 'open') return -1;
    this.#isMessageEnd = found.isMessageEnd;
    if (found.isDrained) this.#isReady = false;
    this.credit.sent(length);
    if (found.isEnd) this.#sendEnds();
    else if (this.#canSend && this.credit.room === 0) this.#requestCredit();
    return length > 0 || this.#isMessageEnd ? length : -1;
  }
  #isMessageEnd = false;

  /** The endpoint has no more bytes. */
  #sendEnds(): void {
    this.#isReady = false;
    this.#ourShutdown |= spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND;
    if (this.#isEndPassed) this.#closeBoth();
    else this.#send(own.SHUTDOWN);
  }

  #control(bit: number, op: number, buffer: Segments, header: PacketHeader): number {
    this.#pending &= ~bit;
    header.flags = bit === own.SHUTDOWN ? this.#ourShutdown : 0;
    const bytes = this.#write(buffer, header, op, 0);
    if (bit === own.RST) this.#owner.release(this);
    return bytes;
  }

  #write(buffer: Segments, header: PacketHeader, op: number, length: number): number {
    addressTo(header, this);
    header.len = length;
    header.op = op;
    if (op === spec.VIRTIO_VSOCK_OP_RW) header.flags = this.#isMessageEnd ? spec.VIRTIO_VSOCK_SEQ_EOM : 0;
    header.bufAlloc = this.credit.bufAlloc;
    header.fwdCnt = this.credit.fwdCnt;
    // Every packet has both counts: an update that waits is sent with it.
    this.credit.told();
    this.#pending &= ~own.CREDIT_UPDATE;
    writeHeader(buffer, header);
    return spec.HEADER_BYTES + length;
  }
}
