// virtio-net: the transmit queue: frames of the guest, copied out of the ring once, checked, and sent. §5.1.6.2.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';
import { isTagged } from './frame-filter.ts';
import type { NetCounters } from './net-counters.ts';
import { HeaderRules, isSegmented } from './net-header.ts';
import type { NetPort } from './net-port.ts';
import { ETHERNET_BYTES, FRAME_BYTES_MAX, HEADER_BYTES, VLAN_TAG_BYTES } from './spec.ts';

/** Sends the frames of the transmit queue to a port. */
export class NetTransmit {
  readonly #port: NetPort;
  readonly #counters: NetCounters;
  readonly #log: (line: string) => void;
  /** The frame being sent: the guest may change its memory meanwhile, and this is what was checked. */
  readonly #packet = new Uint8Array(HEADER_BYTES + FRAME_BYTES_MAX);
  readonly #header = this.#packet.subarray(0, HEADER_BYTES);
  #rules = HeaderRules.fromDriver(0n);
  /** Of a frame that is not segmented, with a tag. */
  #frameBytesMax = FRAME_BYTES_MAX;
  /** Frames are dropped while it is false. */
  isLinkUp = true;

  /** @param log gets a line when the port throws. */
  constructor(port: NetPort, counters: NetCounters, log: (line: string) => void) {
    this.#port = port;
    this.#counters = counters;
    this.#log = log;
  }

  /** @param mtu undefined: not negotiated. */
  started(features: bigint, mtu: number | undefined): void {
    this.#rules = HeaderRules.fromDriver(features);
    this.#frameBytesMax = mtu === undefined ? FRAME_BYTES_MAX : mtu + ETHERNET_BYTES;
  }

  /** Sends what is in the ring. */
  send(queue: DeviceQueue): void {
    queue.drain(this.#serve);
  }

  readonly #serve = (chain: DescriptorChain, queue: DeviceQueue): void => {
    const { readable } = chain;
    const length = readable.totalBytes - HEADER_BYTES;
    if (length >= ETHERNET_BYTES && length <= FRAME_BYTES_MAX) {
      for (let i = 0, at = 0; i < readable.count; at += readable.lengthOf(i++)) this.#packet.set(readable.view(i), at);
      this.#sendFrame(this.#packet.subarray(HEADER_BYTES, HEADER_BYTES + length));
    } else {
      this.#counters.droppedMalformed++;
    }
    queue.markUsed(chain, 0);
  };

  #sendFrame(frame: Uint8Array): void {
    const counters = this.#counters;
    if (!this.isLinkUp) counters.droppedDown++;
    else if (!this.#rules.clean(this.#header, frame.length) || this.#isTooLong(frame)) counters.droppedMalformed++;
    else if (this.#isSent(frame)) {
      counters.sentFrames++;
      counters.sentBytes += frame.length;
    } else counters.droppedPort++;
  }

  /** A port that throws loses this frame, and not the queue. */
  #isSent(frame: Uint8Array): boolean {
    try {
      return this.#port.send(frame, this.#header) !== false;
    } catch (error) {
      this.#log(`net: a frame of ${frame.length} bytes is lost: ${causeOf(error)}`);
      return false;
    }
  }

  /** "If the driver negotiates VIRTIO_NET_F_MTU, it MUST NOT transmit packets of size exceeding the value of mtu". */
  #isTooLong(frame: Uint8Array): boolean {
    if (isSegmented(this.#header)) return false;
    return frame.length > this.#frameBytesMax + (isTagged(frame) ? VLAN_TAG_BYTES : 0);
  }
}
