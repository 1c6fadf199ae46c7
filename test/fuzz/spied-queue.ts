// test/fuzz: a queue that records what its device does, and compares every popped chain with the reference walker.
import type { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import type { ExpectBatch, ServeChain } from '../../src/virtio/device-queue.ts';
import type { DriverError } from '../../src/virtio/errors.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_INDIRECT_DESC } from '../../src/virtio/spec.ts';
import { splitQueueBytes } from '../../src/virtio/split/split-format.ts';
import { DRAIN_MAX, SplitQueue } from '../../src/virtio/split/split-queue.ts';
import { SplitRing } from '../../src/virtio/split/split-ring.ts';
import { type Range, type WalkedChain, type WalkerView, walkChain } from '../reference/split-walker.ts';
import type { GuestImage } from './guest-image.ts';

export interface HostileRing {
  readonly size: number;
  readonly features: bigint;
  readonly base: number;
  readonly table: number;
  readonly available: number;
  readonly used: number;
  /** Parts of the ring overlap: what the device writes last is then what it would read next. */
  readonly tangled: boolean;
}

interface Completion {
  readonly head: number;
  readonly usedLength: number;
}

/** The device did what it must not. */
export class Violation extends Error {}

export class SpiedQueue extends SplitQueue {
  readonly ring: HostileRing;
  /** Chains that the device popped. */
  popped = 0;
  /** Runs before the device serves a chain: the driver may act here. */
  beforeServe: () => void = () => {};
  /** What the driver's words were when the device read them, if they changed right after. */
  readonly wordsRead = new Map<number, number[]>();
  readonly #image: GuestImage;
  readonly #view: WalkerView;
  readonly #deviceArea: Range;
  readonly #inFlight = new Map<DescriptorChain, WalkedChain>();
  readonly #completed: Completion[] = [];
  #next: number;
  /** What the chain after the last of the latest batch was when that was popped. */
  #nextChain: WalkedChain | string | undefined;
  /** What was in flight with the latest batch, and the head after it. */
  #latestHeads: readonly number[] = [];
  #nextHead: number | undefined;
  #isTurnOver = false;
  /** The used ring was overwritten: by the driver, or by the device because a chain named it. */
  #scribbled = false;

  constructor(image: GuestImage, ring: HostileRing) {
    const bytes = splitQueueBytes(ring.size);
    const areas = {
      descriptorArea: image.slice(ring.table, bytes.descriptorArea),
      driverArea: image.slice(ring.available, bytes.driverArea),
      deviceArea: image.slice(ring.used, bytes.deviceArea),
    };
    let onTurnOver = (): void => {};
    super(new SplitRing(ring.size, areas), new GuestMemory(image.regions), {
      features: ring.features,
      base: ring.base,
      notify: () => {},
      again: () => onTurnOver(),
    });
    onTurnOver = () => {
      this.#isTurnOver = true;
    };
    this.ring = ring;
    this.#image = image;
    this.#next = ring.base;
    this.#deviceArea = { address: ring.used, length: bytes.deviceArea };
    this.#view = {
      read32: (address) => this.wordsRead.get(address)?.shift() ?? image.read32(address),
      regions: image.regions,
      table: ring.table,
      size: ring.size,
      indirect: (ring.features & VIRTIO_F_INDIRECT_DESC) !== 0n,
    };
    image.accept(this.#deviceArea);
    image.onWrite = (address, length) => this.#noteWrite(address, length);
  }

  override drain(serve: ServeChain, expect?: ExpectBatch): void {
    let announced: DescriptorChain[] = [];
    const { base } = this;
    this.#isTurnOver = false;
    super.drain(
      (chain) => {
        announced.shift();
        this.beforeServe();
        serve(chain, this);
        this.wordsRead.clear();
      },
      (batch, count) => {
        announced = batch.slice(0, count);
        this.#receive(announced);
        expect?.(batch, count);
        this.wordsRead.clear();
      },
    );
    // A turn that is over returns the chains that it had loaded and not served.
    for (const chain of announced) this.#inFlight.delete(chain);
    this.popped -= announced.length;
    this.#next = (this.#next - announced.length) & 0xffff;
    const served = (this.base - base) & 0xffff;
    if (served > 2 * DRAIN_MAX) throw new Violation(`${served} requests in one drain`);
  }

  /** A batch was popped and nothing of it served: memory is as the device saw it. */
  #receive(batch: readonly DescriptorChain[]): void {
    this.#latestHeads = [...this.#inFlight.keys(), ...batch].map(({ head }) => head);
    for (const chain of batch) this.#judge(chain);
    this.#nextHead = this.#headAt(this.#next);
    this.#nextChain = walkChain(this.#view, this.#nextHead);
    this.wordsRead.clear();
  }

  /** The chain must be the next one of the available ring, and have the buffers that the reference walker finds. */
  #judge(chain: DescriptorChain): void {
    this.popped++;
    if (this.#inFlight.has(chain)) throw new Violation(`chain ${chain.head} handed out while in flight`);
    const head = this.#headAt(this.#next);
    this.#next = (this.#next + 1) & 0xffff;
    if (chain.head !== head) throw new Violation(`chain ${chain.head} popped, ${head} is next`);
    const walked = walkChain(this.#view, head);
    if (typeof walked === 'string') throw new Violation(`chain ${head} was served and is ${walked}`);
    if (total(walked.readable) !== chain.readable.totalBytes || total(walked.writable) !== chain.writable.totalBytes)
      throw new Violation(`chain ${head} has ${total(walked.readable)}+${total(walked.writable)} bytes`);
    this.#inFlight.set(chain, walked);
    for (const { address, length } of walked.writable) this.#noteWrite(address, length);
  }

  /** Whether the word at `address` touches the available ring. */
  isHead(address: number): boolean {
    const { available, size } = this.ring;
    return address + 4 > available && address < available + splitQueueBytes(size).driverArea;
  }

  #headAt(index: number): number {
    return this.#image.read16(this.ring.available + 4 + 2 * (index & (this.ring.size - 1)));
  }

  #noteWrite(address: number, length: number): void {
    const used = this.#deviceArea;
    this.#scribbled ||= address < used.address + used.length && used.address < address + length;
  }

  override markUsed(chain: DescriptorChain, usedLength: number): void {
    const walked = this.#inFlight.get(chain);
    if (walked === undefined) throw new Violation(`chain ${chain.head} completed and not in flight`);
    if (usedLength > total(walked.writable)) throw new Violation(`used length ${usedLength} of chain ${chain.head}`);
    for (const range of walked.writable) this.#image.accept(range);
    this.#inFlight.delete(chain);
    this.#completed.push({ head: chain.head, usedLength });
    super.markUsed(chain, usedLength);
  }

  /** Memory outside what chains in flight name is untouched, and the used ring says what happened. */
  verify(): void {
    for (const { writable } of this.#inFlight.values()) for (const range of writable) this.#image.accept(range);
    this.#image.accept(this.#deviceArea);
    const touched = this.#image.firstTouched();
    if (touched !== undefined) throw new Violation(`the byte at 0x${touched.toString(16)} was touched`);
    if (this.inFlight !== this.#inFlight.size) throw new Violation(`${this.inFlight} in flight`);
    if (!this.ring.tangled && !this.#scribbled) this.#verifyUsedRing();
  }

  #verifyUsedRing(): void {
    const index = this.#image.read16(this.ring.used + 2);
    const latest = this.#completed.slice(-this.ring.size);
    latest.forEach(({ head, usedLength }, i) => {
      const at = this.ring.used + 4 + 8 * ((index - latest.length + i) & (this.ring.size - 1));
      if (this.#image.read32(at) !== head || this.#image.read32(at + 4) !== usedLength)
        throw new Violation(`the used ring names ${this.#image.read32(at)}, not ${head} with ${usedLength} bytes`);
    });
  }

  /** After a drain that ended by itself: nothing is left to do, or the queue is polled and its poller finds the rest. */
  verifyDrained(served: number): void {
    if (this.ring.tangled || served >= DRAIN_MAX || this.#isTurnOver) return;
    if (this.state().polled && this.base === this.#next && this.hasWork()) return;
    if (this.base !== this.#next || this.#image.read16(this.ring.available + 2) !== this.#next)
      throw new Violation(`drained up to ${this.base}, ${this.#next} were served`);
  }

  /** After a DriverError: the driver did break a MUST. */
  verifyRefused(refusal: DriverError): void {
    const available = (this.#image.read16(this.ring.available + 2) - this.#next) & 0xffff;
    if (refusal.clause === '§2.7.13') {
      // The driver may have changed the ring since.
      const inUse = new Set([...this.#latestHeads, ...[...this.#inFlight.keys()].map(({ head }) => head)]);
      const isInUse = inUse.has(this.#nextHead ?? -1) || inUse.has(this.#headAt(this.#next));
      if (available + this.inFlight <= this.ring.size && !isInUse) throw new Violation(refusal.message);
      return;
    }
    // It was refused with the latest batch, or after it.
    const verdicts = [this.#nextChain, walkChain(this.#view, this.#headAt(this.#next))];
    if (!verdicts.some((verdict) => typeof verdict === 'string'))
      throw new Violation(`chain ${this.#headAt(this.#next)} was refused: ${refusal.message}`);
  }
}

function total(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}
