// virtio-vsock: what a connection needs of its device, its limits, and the kinds of packets that it has to send.
import * as spec from './spec.ts';

/** How long the guest has to answer a connection of the host's. */
export const CONNECT_MS = 10_000;
/** How long the guest has to confirm that both sides have closed, as in Linux. */
export const CLOSE_MS = 8000;
/** Bytes of a packet, both ways: Linux's VIRTIO_VSOCK_MAX_PKT_BUF_SIZE. */
export const PACKET_BYTES_MAX = 64 * 1024;

/** Packets that wait to be sent, one bit each: at most one of each kind. */
export const REQUEST = 1;
export const RESPONSE = 2;
export const RST = 4;
export const SHUTDOWN = 8;
export const CREDIT_UPDATE = 16;
export const CREDIT_REQUEST = 32;
/** In the order in which they are sent; data comes before SHUTDOWN. */
export const BEFORE_DATA: readonly (readonly [bit: number, op: number])[] = [
  [RST, spec.VIRTIO_VSOCK_OP_RST],
  [REQUEST, spec.VIRTIO_VSOCK_OP_REQUEST],
  [RESPONSE, spec.VIRTIO_VSOCK_OP_RESPONSE],
];
export const AFTER_DATA: readonly (readonly [bit: number, op: number])[] = [
  [CREDIT_REQUEST, spec.VIRTIO_VSOCK_OP_CREDIT_REQUEST],
  [CREDIT_UPDATE, spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE],
  [SHUTDOWN, spec.VIRTIO_VSOCK_OP_SHUTDOWN],
];

/** What a connection needs of its device. */
export interface ConnectionOwner<Connection> {
  /** It has something to send. */
  wants(connection: Connection): void;
  /** Its ports are free again. */
  forget(connection: Connection): void;
  /** It is over, and has nothing more to send. */
  release(connection: Connection): void;
  timer(delayMs: number, task: () => void): Disposable | undefined;
  log(line: string): void;
}

/** `waiting`: the host asked, the guest has not answered. `draining`: the guest is gone, the endpoint is not. */
export type State = 'waiting' | 'open' | 'draining' | 'closed';
