// virtio-net: the buffers of the receive queue, taken as frames need them: one for a frame, or several merged ones.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { setLe16 } from './net-header.ts';
import { HEADER, HEADER_BYTES } from './spec.ts';

/** Buffers without room for a header that are returned at once: a driver may refill the ring endlessly with them. */
const USELESS_MAX = 64;

/** What became of a frame: `waiting` for buffers, or it fits no buffer of this driver. */
export type Delivery = 'delivered' | 'waiting' | 'too-long';

/** The receive queue while it runs. */
export class ReceiveBuffers {
  readonly #queue: DeviceQueue;
  readonly #isMerged: boolean;
  /** Taken and not used yet: a frame needed more than there were, or it did not fit. In the order of the ring. */
  readonly #held: DescriptorChain[] = [];
  /** How many these are: the array keeps its length, because one that shrinks and grows is allocated again each time. */
  #count = 0;

  /** @param isMerged VIRTIO_NET_F_MRG_RXBUF was negotiated. */
  constructor(queue: DeviceQueue, isMerged: boolean) {
    this.#queue = queue;
    this.#isMerged = isMerged;
  }

  /**
   * Copies a frame into buffers, which the driver sees with the next `publish`. `header` is changed: num_buffers.
   */
  deliver(header: Uint8Array, frame: Uint8Array): Delivery {
    const wanted = HEADER_BYTES + frame.length;
    const count = this.#hold(wanted);
    if (count === undefined) return 'waiting';
    if (count === 0) return 'too-long';
    setLe16(header, HEADER.num_buffers, count);
    for (let i = 0, done = 0; i < count; i++) done += this.#fill(this.#held[i] as DescriptorChain, header, frame, done);
    this.#drop(count);
    return 'delivered';
  }

  /**
   * Takes buffers until they have room for `wanted` bytes. Returns how many that are, undefined where the driver has to
   * add some first, and 0 where one buffer has to do and does not.
   */
  #hold(wanted: number): number | undefined {
    if (!this.#hasFirst()) return undefined;
    let room = 0;
    for (let count = 0; ; count++) {
      const buffer = count < this.#count ? this.#held[count] : this.#takeOne();
      if (buffer === undefined) return undefined;
      room += buffer.writable.totalBytes;
      if (room >= wanted) return count + 1;
      if (!this.#isMerged) return 0;
    }
  }

  #takeOne(): DescriptorChain | undefined {
    const buffer = this.#queue.take();
    if (buffer !== undefined) this.#held[this.#count++] = buffer;
    return buffer;
  }

  /** The first `count` buffers were used. */
  #drop(count: number): void {
    if (count < this.#count) this.#held.copyWithin(0, count, this.#count);
    this.#count -= count;
  }

  /**
   * Whether there is a buffer that a packet can begin in: "each buffer MUST be at least size of struct virtio_net_hdr". A
   * smaller one in front is returned empty. Behind it is one like any other: buffers come back in the order of the ring,
   * so that those that are held can be put back.
   */
  #hasFirst(): boolean {
    for (let useless = 0; useless < USELESS_MAX; useless++) {
      const buffer = this.#count > 0 ? this.#held[0] : this.#takeOne();
      if (buffer === undefined) return false;
      if (buffer.writable.totalBytes >= HEADER_BYTES) return true;
      this.#queue.markUsed(buffer, 0);
      this.#drop(1);
    }
    this.#queue.again();
    return false;
  }

  /** Fills one buffer with the packet from byte `done` on. Returns how many bytes that were. */
  #fill(buffer: DescriptorChain, header: Uint8Array, frame: Uint8Array, done: number): number {
    const { writable } = buffer;
    let filled = 0;
    if (done === 0) {
      const first = writable.view(0);
      if (first.length >= HEADER_BYTES + frame.length) {
        // The usual case: one piece has room for all.
        first.set(header);
        first.set(frame, HEADER_BYTES);
        filled = HEADER_BYTES + frame.length;
      } else {
        writable.copyFrom(header);
        filled = HEADER_BYTES + writable.copyFrom(frame, HEADER_BYTES);
      }
    } else {
      filled = writable.copyFrom(frame.subarray(done - HEADER_BYTES));
    }
    this.#queue.markUsed(buffer, filled);
    return filled;
  }

  /** Returns buffers without room for a header, where there are some in front. */
  returnUseless(): void {
    this.#hasFirst();
  }

  /** Shows the driver what was delivered. */
  publish(): void {
    this.#queue.publish();
  }

  /** Puts the buffers that are held back into the ring, unused. */
  stop(): void {
    while (this.#count > 0) this.#queue.untake(this.#held[--this.#count] as DescriptorChain);
  }
}
