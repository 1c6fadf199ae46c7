// virtio-net: the transmit queue: frames of the guest, copied out of the ring once, checked, and sent. §5.1.6.2.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceContext } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf } from '../../virtio/maybe-promise.ts';
import { isTagged } from './frame-filter.ts';
import type { FrameLimit } from './frame-limit.ts';
import type { NetCounters } from './net-counters.ts';
import { HeaderRules, isSegmented } from './net-header.ts';
import type { NetPort } from './net-port.ts';
import { ETHERNET_BYTES, FRAME_BYTES_MAX, HEADER_BYTES, VLAN_TAG_BYTES } from './spec.ts';

/** With a limit: other queues have their turn after so many. */
const LIMITED_FRAMES_A_TURN = 64;

/** Sends the frames of the transmit queue to a port. */
export class NetTransmit {
  readonly #port: NetPort;
  readonly #counters: NetCounters;
  readonly #log: (line: string) => void;
  readonly #limit: FrameLimit | undefined;
  #context: DeviceContext | undefined;
  #timer: Disposable | undefined;
  /** The frame being sent: the guest may change its memory meanwhile, and this is what was checked. */
  readonly #packet = new Uint8Array(HEADER_BYTES + FRAME_BYTES_MAX);
  readonly #header = this.#packet.subarray(0, HEADER_BYTES);
  #rules = HeaderRules.fromDriver(0n);
  /** Of a frame that is not segmented, with a tag. */
  #frameBytesMax = FRAME_BYTES_MAX;
  /** Frames are dropped while it is false. */
  isLinkUp = true;

  /** @param log gets a line when the port throws. */
  constructor(port: NetPort, counters: NetCounters, log: (line: string) => void, limit?: FrameLimit) {
    this.#limit = limit;
    this.#port = port;
    this.#counters = counters;
    this.#log = log;
  }

  /** @param mtu undefined: not negotiated. */
  started(features: bigint, mtu: number | undefined): void {
    this.#rules = HeaderRules.fromDriver(features);
    this.#frameBytesMax = mtu === undefined ? FRAME_BYTES_MAX : mtu + ETHERNET_BYTES;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  /** Sends what is in the ring, as far as the limit allows. */
  send(queue: DeviceQueue): void {
    if (this.#limit === undefined) return queue.drain(this.#serve);
    this.#sendWithin(this.#limit, queue);
    queue.publish();
  }

  /** Frames beyond the limit stay in the ring: the guest's own queue fills, and nothing is lost here. */
  #sendWithin(limit: FrameLimit, queue: DeviceQueue): void {
    for (let i = 0; i < LIMITED_FRAMES_A_TURN; i++) {
      const waitMs = limit.waitMs();
      if (waitMs > 0) return this.#sleep(waitMs, queue);
      const chain = queue.take();
      if (chain === undefined) return;
      // One that is longer is dropped: what the driver says that it has would be a debt for hours.
      limit.take(Math.min(Math.max(0, chain.readable.totalBytes - HEADER_BYTES), FRAME_BYTES_MAX));
      this.#serve(chain, queue);
    }
    queue.again();
  }

  #sleep(waitMs: number, queue: DeviceQueue): void {
    this.#timer ??= this.#context?.timer(waitMs, () => {
      this.#timer = undefined;
      this.send(queue);
    });
  }

  queueStopping(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
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
