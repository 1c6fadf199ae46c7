// virtio-vsock, §5.10: the device: its queues, and which packet belongs to which connection.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceConfig, DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';
import { VIRTIO_ID_VSOCK } from '../../virtio/spec.ts';
import { Connection } from './connection.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { ConnectionTable } from './connection-table.ts';
import { newHeader, readHeader } from './packet-header.ts';
import * as spec from './spec.ts';
import type { VsockDial, VsockEndpoint, VsockPort, VsockType } from './vsock-port.ts';
import { VsockReceive } from './vsock-receive.ts';

/** The options of a socket device. */
export interface VsockDeviceOptions {
  /** The address of the guest: 3 to 4294967294. */
  readonly cid: number;
  /** The host's side. */
  readonly port: VsockPort;
}

/** Linux fills the receive queue. A vhost-user front end asks no back end how large a queue may be: all are the same. */
const QUEUE_SIZE = 256;
/** Limits of one turn, so that other queues have theirs. */
const PACKETS_A_TURN = 256;
const BYTES_A_TURN = 1024 * 1024;

/**
 * The guest's AF_VSOCK sockets, connected to a port: `VsockHost` has TypeScript's and UNIX sockets. A byte is copied
 * once: out of a ring or into it. What the host's end does not take waits, bounded by the credit of its connection.
 *
 * @example An echo server at port 1234 of the host:
 * const port = new VsockHost();
 * port.listen(1234, (socket) => socket.pipe(socket));
 * serve(new VsockDevice({ cid: 3, port }), { vhostUser: '/tmp/vsock.sock' });
 */
export class VsockDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_VSOCK;
  readonly features =
    spec.VIRTIO_VSOCK_F_STREAM | spec.VIRTIO_VSOCK_F_SEQPACKET | spec.VIRTIO_VSOCK_F_NO_IMPLIED_STREAM;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly config: DeviceConfig = { bytes: new Uint8Array(spec.CONFIG_BYTES) };
  readonly #cid: number;
  readonly #port: VsockPort;
  readonly #table = new ConnectionTable();
  readonly #receive = new VsockReceive(() => this.transportReset());
  readonly #header = newHeader();
  readonly #owner: ConnectionOwner<Connection>;
  #context: DeviceContext | undefined;
  #receivedBytes = 0;
  #accepted = 0n;
  #transmitq: DeviceQueue | undefined;
  #eventq: DeviceQueue | undefined;
  #event: DescriptorChain | undefined;
  #isResetDue = false;
  /** Packets of the guest wait in the ring until replies were sent. */
  #isHeld = false;
  #isClosed = false;

  /** Throws TypeError or RangeError for an invalid option. */
  constructor({ cid, port }: VsockDeviceOptions) {
    checkCid(cid);
    if (typeof port?.accept !== 'function')
      throw new TypeError('a socket device needs a port: { port: { accept(connection) { … } } }, or new VsockHost()');
    this.#cid = cid;
    this.#port = port;
    new DataView(this.config.bytes.buffer).setUint32(0, cid, true);
    this.#owner = {
      wants: (connection) => {
        this.#receive.add(connection);
        this.#deliver();
      },
      forget: (connection) => this.#table.forget(connection),
      release: (connection) => this.#table.release(connection),
      timer: (delayMs, task) => this.#context?.timer(delayMs, task),
      log: (line) => this.#context?.log(line),
    };
  }

  /** The address of the guest. */
  get cid(): number {
    return this.#cid;
  }

  /** Bytes from the guest and to it so far. */
  get bytes(): { readonly received: number; readonly sent: number } {
    return { received: this.#receivedBytes, sent: this.#receive.sentBytes };
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#table.size;
  }

  /** All queues run on one thread: they share the connections. */
  threadOf(): number {
    return 0;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
    this.#port.dial = this.#dial;
    this.#port.attach?.(context);
  }

  start(features: bigint): void {
    this.#accepted = features;
  }

  queueStarted(index: number, queue: DeviceQueue): void {
    if (index === spec.RXQ) this.#receive.started(queue);
    else if (index === spec.TXQ) this.#transmitq = queue;
    else this.#eventq = queue;
  }

  queueStopping(index: number): void {
    if (index === spec.RXQ) this.#receive.stopping();
    else if (index === spec.TXQ) this.#transmitq = undefined;
    else {
      if (this.#event !== undefined) this.#eventq?.untake(this.#event);
      this.#event = this.#eventq = undefined;
    }
  }

  process(index: number): void {
    if (index === spec.RXQ) this.#flush();
    else if (index === spec.TXQ) this.#transmit();
    else this.#sendEvent();
  }

  /**
   * Tells the driver that all its connections are gone: the guest was restored from a snapshot, or moved. The driver
   * closes them and reads its address again. The device does it by itself for a driver whose receive queue was in use
   * before: by the device of an earlier process, say. A new driver is not told.
   */
  transportReset(): void {
    this.#drop();
    this.#isResetDue = true;
    this.#sendEvent();
  }

  #sendEvent(): void {
    const queue = this.#eventq;
    if (queue === undefined) return;
    for (let useless = 0; useless < QUEUE_SIZE; useless++) {
      this.#event ??= queue.take();
      const event = this.#event;
      if (event === undefined) break;
      const isUseless = event.writable.totalBytes < spec.EVENT_BYTES;
      if (!isUseless && !this.#isResetDue) break;
      if (!isUseless) {
        // Connections that were made since are closed by the driver too.
        this.#drop();
        this.#isResetDue = false;
        event.writable.copyFrom(Uint8Array.of(spec.VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, 0, 0, 0));
      }
      this.#event = undefined;
      queue.markUsed(event, isUseless ? 0 : spec.EVENT_BYTES);
      if (useless === QUEUE_SIZE - 1) queue.again();
    }
    queue.publish();
  }

  /** The guest has buffers, or there is something for them. */
  #flush(): void {
    this.#receive.deliver();
    this.#receive.publish();
    this.#unhold();
  }

  /** Packets that waited for room among the replies get their turn. */
  #unhold(): void {
    if (!this.#isHeld || this.#receive.isFull) return;
    this.#isHeld = false;
    this.#transmitq?.again();
  }

  #deliver(): void {
    this.#receive.deliver();
    this.#unhold();
    this.#context?.soon(this.#publish);
  }

  readonly #publish = (): void => this.#receive.publish();

  #transmit(): void {
    const queue = this.#transmitq;
    if (queue === undefined) return;
    for (let packets = 0, bytes = 0; !this.#receive.isFull; packets++) {
      if (packets >= PACKETS_A_TURN || bytes >= BYTES_A_TURN) {
        queue.again();
        break;
      }
      const packet = queue.take();
      if (packet === undefined) break;
      bytes += packet.readable.totalBytes;
      this.#handle(packet);
      queue.markUsed(packet, 0);
    }
    queue.publish();
    this.#isHeld = this.#receive.isFull;
    this.#deliver();
  }

  #handle({ readable }: DescriptorChain): void {
    const header = this.#header;
    if (readable.totalBytes < spec.HEADER_BYTES) return;
    readHeader(readable, header);
    // §5.10.6.4.1: "The guest_cid configuration field MUST be used as the source CID when sending outgoing packets."
    if (header.srcCid !== this.#cid) return;
    const type = this.#typeOf(header.type);
    if (type === undefined || header.dstCid !== spec.CID_HOST) return this.#receive.refuse(header);
    const connection = this.#table.find(header.srcPort, header.dstPort);
    if (connection?.type === type) {
      if (header.op === spec.VIRTIO_VSOCK_OP_RW) this.#receivedBytes += header.len;
      connection.handle(header, readable);
    } else if (connection === undefined && header.op === spec.VIRTIO_VSOCK_OP_REQUEST) this.#accept(type);
    else this.#receive.refuse(header);
  }

  /** §5.10.6.4.2: "A VIRTIO_VSOCK_OP_RST reply MUST be sent if a packet is received with an unknown type value." */
  #typeOf(type: number): VsockType | undefined {
    const has = (feature: bigint): boolean => (this.#accepted & feature) !== 0n;
    if (type === spec.VIRTIO_VSOCK_TYPE_SEQPACKET) return has(spec.VIRTIO_VSOCK_F_SEQPACKET) ? 'seqpacket' : undefined;
    if (type !== spec.VIRTIO_VSOCK_TYPE_STREAM) return undefined;
    const isStream = has(spec.VIRTIO_VSOCK_F_STREAM) || !has(spec.VIRTIO_VSOCK_F_NO_IMPLIED_STREAM);
    return isStream ? 'stream' : undefined;
  }

  #accept(type: VsockType): void {
    const header = this.#header;
    const bufAlloc = this.#table.nextBuffer;
    if (bufAlloc === undefined) return this.#receive.refuse(header);
    const { srcPort: guestPort, dstPort: hostPort } = header;
    const connection = new Connection({ guestCid: this.#cid, guestPort, hostPort }, type, bufAlloc, this.#owner);
    connection.credit.heard(header.bufAlloc, header.fwdCnt);
    let endpoint: VsockEndpoint | undefined;
    try {
      endpoint = this.#port.accept(connection);
    } catch (error) {
      this.#context?.log(`vsock: port ${hostPort}: a connection is refused: ${causeOf(error)}`);
    }
    if (endpoint === undefined || connection.isClosed) return this.#receive.refuse(header);
    this.#table.add(connection);
    connection.accepted(endpoint);
  }

  readonly #dial: VsockDial = ({ guestPort, hostPort }, type, make) => {
    const bufAlloc = this.#table.nextBuffer;
    if (bufAlloc === undefined || this.#isClosed || this.#table.find(guestPort, hostPort) !== undefined)
      return undefined;
    const connection = new Connection({ guestCid: this.#cid, guestPort, hostPort }, type, bufAlloc, this.#owner);
    this.#table.add(connection);
    connection.request(make(connection));
    return connection;
  };

  #drop(): void {
    this.#receive.clear();
    for (const connection of this.#table) connection.drop();
    for (const connection of this.#table) this.#table.release(connection);
  }

  /** Every connection is over. */
  reset(): void {
    this.#accepted = 0n;
    this.#isResetDue = this.#isHeld = false;
    this.#drop();
    this.#receive.reset();
  }

  /** Ends every connection, and closes the port. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#drop();
    await this.#port.close?.();
  }
}

/** Throws RangeError for an address that no guest can have, §5.10.4. */
export function checkCid(cid: number): void {
  if (!Number.isInteger(cid) || cid < spec.CID_MIN || cid > spec.CID_MAX)
    throw new RangeError(
      `the CID ${cid}: a whole number from ${spec.CID_MIN} to ${spec.CID_MAX} is wanted; 0 to 2 are reserved`,
    );
}
