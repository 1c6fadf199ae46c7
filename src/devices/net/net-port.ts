// virtio-net: the interface of what a network card is connected to.
import type { DeviceContext } from '../../virtio/device.ts';

/** What a port can use on the thread of its device. */
export type PortContext = Pick<DeviceContext, 'watch' | 'timer' | 'soon' | 'log'>;

/**
 * The other end of a network card's cable. Frames are Ethernet frames without their checksum (FCS), 14 to 65589 bytes.
 * A header is a struct virtio_net_hdr, 12 bytes (§5.1.6): all zeroes unless `offloads` has bits.
 *
 * @example A port that records what the guest sends:
 * const sizes: number[] = [];
 * const device = new NetDevice({ port: { send: (frame) => void sizes.push(frame.length) } });
 */
export interface NetPort {
  /**
   * The offloads that it takes (CSUM, HOST_…) and that its frames may need (GUEST_…), as bits VIRTIO_NET_F_… of §5.1.3.
   * A driver is offered no others. Absent: none, so every frame is complete.
   */
  readonly offloads?: bigint;
  /**
   * Sends a frame of the guest. Both arrays are valid until it returns. Returns false where the frame was dropped, which
   * is counted; a port never waits.
   */
  send(frame: Uint8Array, header: Uint8Array): unknown;
  /**
   * Set by the device: passes a frame to the guest, which gets a copy. Returns false where the guest has no buffer for
   * it: the frame then waits a second at most, or was dropped and counted. A port that can keep its next frames itself
   * should do so until `resume`.
   */
  onFrame?: ((frame: Uint8Array, header?: Uint8Array) => boolean) | undefined;
  /** Set by the device: the link is up or down. It is up at first. */
  onLink?: ((isUp: boolean) => void) | undefined;
  /** The guest has buffers again after `onFrame` returned false. */
  resume?(): void;
  /** Called once, on the thread of the device, before any other function. */
  attach?(context: PortContext): void;
  /** The driver accepted these `offloads`; 0n after a reset. */
  start?(accepted: bigint): void;
  /** It is not used any more. */
  close?(): void | Promise<void>;
}
