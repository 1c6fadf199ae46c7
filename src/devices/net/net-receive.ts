// virtio-net: frames for the guest: filtered, fitted to what the driver accepted, and copied into its buffers. §5.1.6.4.
import type { DeviceContext } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { BACKLOG_MS, FrameBacklog } from './frame-backlog.ts';
import { type FrameFilter, isTagged } from './frame-filter.ts';
import type { FrameLimit } from './frame-limit.ts';
import type { NetCounters } from './net-counters.ts';
import { completeChecksum, HeaderRules, isSegmented, needsChecksum } from './net-header.ts';
import { type Delivery, ReceiveBuffers } from './receive-buffers.ts';
import {
  ETHERNET_BYTES,
  FRAME_BYTES_MAX,
  HEADER_BYTES,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MRG_RXBUF,
  VLAN_TAG_BYTES,
} from './spec.ts';

/** What the driver accepted, and what it filters. */
export interface ReceiveSettings {
  readonly features: bigint;
  /** Undefined: not negotiated. */
  readonly mtu: number | undefined;
  readonly filter: FrameFilter;
}

/** Allows a partial checksum, which is completed here for a driver that does not take it. */
const rulesOf = (features: bigint): HeaderRules => HeaderRules.toDriver(features | VIRTIO_NET_F_GUEST_CSUM);

/** Passes frames to the receive queue. */
export class NetReceive {
  readonly #limit: FrameLimit | undefined;
  readonly #counters: NetCounters;
  readonly #onRoom: () => void;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #backlog = new FrameBacklog();
  #settings: ReceiveSettings | undefined;
  #rules = rulesOf(0n);
  /** VIRTIO_NET_F_GUEST_CSUM was negotiated. */
  #takesChecksums = false;
  #buffers: ReceiveBuffers | undefined;
  #context: DeviceContext | undefined;
  #timer: Disposable | undefined;
  /** Ends a wait for the limit. */
  #limitTimer: Disposable | undefined;
  /** `onFrame` returned false, and the port has not been called since. */
  #isPortWaiting = false;
  /** Frames are dropped while it is false. */
  isLinkUp = true;

  /** @param onRoom is called when frames can be delivered again after `receive` returned false. */
  constructor(counters: NetCounters, onRoom: () => void, limit?: FrameLimit) {
    this.#limit = limit;
    this.#counters = counters;
    this.#onRoom = onRoom;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  started(settings: ReceiveSettings): void {
    this.#settings = settings;
    this.#rules = rulesOf(settings.features);
    this.#takesChecksums = (settings.features & VIRTIO_NET_F_GUEST_CSUM) !== 0n;
  }

  queueStarted(queue: DeviceQueue): void {
    const { features = 0n } = this.#settings ?? {};
    this.#buffers = new ReceiveBuffers(queue, (features & VIRTIO_NET_F_MRG_RXBUF) !== 0n);
  }

  /** Puts held buffers back. What waits is dropped: no one knows when the queue starts again. */
  queueStopping(): void {
    this.#buffers?.stop();
    this.#buffers = undefined;
    this.#limitTimer?.[Symbol.dispose]();
    this.#limitTimer = undefined;
    this.#counters.droppedDown += this.#backlog.clear();
    this.#roomAgain();
  }

  /** Returns to the state without a driver. */
  reset(): void {
    this.#settings = undefined;
  }

  /** Takes a frame for the guest. Returns false where it has no buffers: see `NetPort.onFrame`. */
  receive(frame: Uint8Array, header: Uint8Array | undefined): boolean {
    const counters = this.#counters;
    if (this.#buffers === undefined || this.#settings === undefined || !this.isLinkUp) counters.droppedDown++;
    else if (frame.length < ETHERNET_BYTES || frame.length > FRAME_BYTES_MAX) counters.droppedUnsuitable++;
    else if (!this.#settings.filter.accepts(frame)) counters.droppedFiltered++;
    else if (!this.#takeHeader(header, frame, this.#settings)) counters.droppedUnsuitable++;
    else this.#pass(this.#needsCompletion() ? this.#completed(frame) : frame);
    return !this.#isPortWaiting;
  }

  /** Copies the header, and checks it against what the driver accepted. */
  #takeHeader(header: Uint8Array | undefined, frame: Uint8Array, { mtu }: ReceiveSettings): boolean {
    if (header === undefined) this.#header.fill(0);
    else {
      this.#header.set(header);
      if (!this.#rules.clean(this.#header, frame.length)) return false;
    }
    if (mtu === undefined || isSegmented(this.#header)) return true;
    return frame.length <= mtu + ETHERNET_BYTES + (isTagged(frame) ? VLAN_TAG_BYTES : 0);
  }

  /** "If VIRTIO_NET_F_GUEST_CSUM is not negotiated, the device MUST set flags to zero". */
  #needsCompletion(): boolean {
    if (this.#takesChecksums) return false;
    if (needsChecksum(this.#header)) return true;
    this.#header.fill(0);
    return false;
  }

  /** A copy: the frame is the port's, and may be for other cards too. */
  #completed(frame: Uint8Array): Uint8Array {
    const copy = frame.slice();
    completeChecksum(copy, this.#header);
    return copy;
  }

  #pass(frame: Uint8Array): void {
    if (!this.#backlog.isEmpty || this.#deliver(this.#header, frame) === 'waiting') this.#wait(frame);
    else this.#context?.soon(this.#publish);
  }

  #deliver(header: Uint8Array, frame: Uint8Array): Delivery {
    const waitMs = this.#limit?.waitMs() ?? 0;
    if (waitMs > 0) return this.#sleep(waitMs);
    const delivery = (this.#buffers as ReceiveBuffers).deliver(header, frame);
    if (delivery === 'too-long') this.#counters.droppedUnsuitable++;
    if (delivery !== 'delivered') return delivery;
    this.#limit?.take(frame.length);
    this.#counters.receivedFrames++;
    this.#counters.receivedBytes += frame.length;
    return delivery;
  }

  #sleep(waitMs: number): Delivery {
    this.#limitTimer ??= this.#context?.timer(waitMs, () => {
      this.#limitTimer = undefined;
      this.deliverWaiting();
    });
    return 'waiting';
  }

  readonly #publish = (): void => this.#buffers?.publish();

  #wait(frame: Uint8Array): void {
    this.#isPortWaiting = true;
    if (!this.#backlog.add(this.#header, frame)) this.#counters.droppedNoBuffer++;
    this.#timer ??= this.#context?.timer(BACKLOG_MS, this.#expire);
  }

  /** Drops what has waited too long: a frame that needs more buffers than the driver has would wait for ever. */
  readonly #expire = (): void => {
    this.#timer = undefined;
    this.#counters.droppedNoBuffer += this.#backlog.expire();
    this.deliverWaiting();
    if (!this.#backlog.isEmpty) this.#timer = this.#context?.timer(BACKLOG_MS, this.#expire);
  };

  /** Delivers what waits, as far as there are buffers. */
  deliverWaiting(): void {
    const buffers = this.#buffers;
    if (buffers === undefined) return;
    for (let packet = this.#backlog.first; packet !== undefined; packet = this.#backlog.first) {
      if (this.#deliver(packet.subarray(0, HEADER_BYTES), packet.subarray(HEADER_BYTES)) === 'waiting') break;
      this.#backlog.shift();
    }
    buffers.returnUseless();
    buffers.publish();
    if (this.#backlog.isEmpty) this.#roomAgain();
  }

  #roomAgain(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    if (!this.#isPortWaiting) return;
    this.#isPortWaiting = false;
    this.#onRoom();
  }
}
