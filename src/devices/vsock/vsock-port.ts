// virtio-vsock: the interface of what a socket device is connected to: the host's end of every connection.
import type { DeviceContext } from '../../virtio/device.ts';

/** A stream of bytes, or messages whose boundaries are kept. */
export type VsockType = 'stream' | 'seqpacket';

/** The guest's end of a connection, as the device offers it to the host's end. */
export interface VsockConnection {
  readonly type: VsockType;
  readonly guestCid: number;
  readonly guestPort: number;
  readonly hostPort: number;
  /** Whether `ready` was called, and the guest has no credit or no buffer for what there is. */
  readonly isWaiting: boolean;
  /** The endpoint has bytes for the guest, or their end: `read` is called, now or when the guest has room. */
  ready(): void;
  /** The endpoint can take bytes again after `receive` took less than all. */
  resume(): void;
  /** Ends the connection at once, in both directions. What the guest has not received is lost. */
  reset(): void;
  /** The endpoint neither reads nor writes any more. The guest gets what was sent before. */
  close(): void;
}

/** The host's end of a connection. What it throws resets the connection. */
export interface VsockEndpoint {
  /** The guest accepted a connection of the host's. */
  connected?(): void;
  /**
   * Takes bytes of the guest, or one message, which are valid until it returns. Returns how many it took: of a message
   * all, or undefined where it takes none now. The rest is kept by the device until `resume`.
   */
  receive(bytes: Uint8Array): number | undefined;
  /**
   * Fills `into` with bytes for the guest. Returns how many, 0 at the end, undefined where there are none now. Of
   * messages it returns one at most, and `isMessageEnd` says whether that was the rest of it.
   */
  read(into: Uint8Array): number | undefined;
  /** Messages only: whether the last `read` reached the end of a message. */
  readonly isMessageEnd?: boolean;
  /** The guest sends no more. Called after its last bytes. */
  ended(): void;
  /** The guest receives no more. */
  refused?(): void;
  /** The connection is over: nothing else is called. `why` is absent where both sides closed it. */
  closed(why?: string): void;
}

/** What a port can use on the thread of its device. */
export type VsockContext = Pick<DeviceContext, 'watch' | 'timer' | 'soon' | 'log'>;

/** Opens a connection to the guest; `make` returns its host's end. Returns undefined where there are too many. */
export type VsockDial = (
  ports: { readonly guestPort: number; readonly hostPort: number },
  type: VsockType,
  make: (connection: VsockConnection) => VsockEndpoint,
) => VsockConnection | undefined;

/**
 * The host's side of a socket device.
 *
 * @example A host that discards what it gets, at every port:
 * const device = new VsockDevice({ cid: 3, port: { accept: () => ({
 *   receive: (bytes) => bytes.length, read: () => undefined, ended() {}, closed() {},
 * }) } });
 */
export interface VsockPort {
  /** The guest connects to `connection.hostPort`. Returns the host's end, or undefined to refuse it. */
  accept(connection: VsockConnection): VsockEndpoint | undefined;
  /** Set by the device: connects to the guest. */
  dial?: VsockDial | undefined;
  /** Called once, on the thread of the device, before any other function. */
  attach?(context: VsockContext): void;
  /** It is not used any more. */
  close?(): void | Promise<void>;
}
