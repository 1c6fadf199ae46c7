// bench/load: the requests of one queue, laid out once: for each request only the header is rewritten.
import { REQUEST_HEADER_BYTES, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../src/devices/blk/spec.ts';
import { DESCRIPTOR_BYTES, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../../src/virtio/spec.ts';
import { ENVELOPE_BYTES, ENVELOPE_STATUS, type QueuePlan } from './queue-plan.ts';

/** In `slotOf`: the descriptor is not the first of a request. */
export const NO_SLOT = 0xffff;
/** A status that no device writes: if it is still there afterwards, the device wrote none. */
const STATUS_UNWRITTEN = 0xff;

/** Words from one header to the next. */
const HEADER_WORDS = ENVELOPE_BYTES / 4;

export class RequestSlots {
  readonly count: number;
  /** First descriptor of each slot. */
  readonly heads: Uint16Array<ArrayBuffer>;
  /** The slot of each first descriptor, NO_SLOT for the others. */
  readonly slotOf: Uint16Array<ArrayBuffer>;
  /** Each slot's data as words. */
  readonly words: readonly Uint32Array<ArrayBuffer>[];
  readonly #headers: Uint32Array<ArrayBuffer>;
  readonly #envelopes: Uint8Array<ArrayBuffer>;
  readonly #table: DataView<ArrayBuffer>;
  readonly #plan: QueuePlan;
  readonly #writes: Uint8Array<ArrayBuffer>;

  /** @param guestBase the guest address of the first byte of `memory`. */
  constructor(memory: Uint8Array<ArrayBuffer>, plan: QueuePlan, guestBase: number) {
    const { buffer, byteOffset } = memory;
    this.#plan = plan;
    this.count = plan.slots;
    this.heads = Uint16Array.from({ length: plan.slots }, (_, slot) => slot * plan.descriptorsPerSlot);
    this.slotOf = new Uint16Array(plan.size).fill(NO_SLOT);
    this.heads.forEach((head, slot) => {
      this.slotOf[head] = slot;
    });
    this.words = Array.from(
      { length: plan.slots },
      (_, slot) => new Uint32Array(buffer, byteOffset + plan.data + slot * plan.blockBytes, plan.blockBytes / 4),
    );
    const envelopesBytes = plan.slots * ENVELOPE_BYTES;
    this.#envelopes = new Uint8Array(buffer, byteOffset + plan.envelopes, envelopesBytes);
    this.#headers = new Uint32Array(buffer, byteOffset + plan.envelopes, envelopesBytes / 4);
    this.#table = new DataView(buffer, byteOffset + plan.descriptorArea, plan.size * DESCRIPTOR_BYTES);
    this.#writes = new Uint8Array(plan.slots);
    for (let slot = 0; slot < plan.slots; slot++) this.#layOut(slot, guestBase);
  }

  /** Makes the slot a read or a write of one block at `sector`. */
  prepare(slot: number, write: boolean, sector: number): void {
    if ((this.#writes[slot] === 1) !== write) this.#turn(slot, write);
    const at = HEADER_WORDS * slot;
    this.#headers[at + 2] = sector;
    this.#headers[at + 3] = sector / 2 ** 32;
    this.#envelopes[slot * ENVELOPE_BYTES + ENVELOPE_STATUS] = STATUS_UNWRITTEN;
  }

  /** The status byte the device wrote last. */
  status(slot: number): number {
    return this.#envelopes[slot * ENVELOPE_BYTES + ENVELOPE_STATUS] as number;
  }

  isWrite(slot: number): boolean {
    return this.#writes[slot] === 1;
  }

  /** The used length that §5.2.6 requires: bytes that the device wrote, status byte included. */
  usedLength(slot: number): number {
    return this.#writes[slot] === 1 ? 1 : this.#plan.blockBytes + 1;
  }

  /** Describes the request in the slot, for messages. */
  describe(slot: number): string {
    const at = HEADER_WORDS * slot;
    const sector = (this.#headers[at + 2] as number) + (this.#headers[at + 3] as number) * 2 ** 32;
    return `${this.isWrite(slot) ? 'write' : 'read'} of ${this.#plan.blockBytes} bytes at sector ${sector}`;
  }

  #turn(slot: number, write: boolean): void {
    this.#writes[slot] = write ? 1 : 0;
    this.#headers[HEADER_WORDS * slot] = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    const { descriptorsPerSlot } = this.#plan;
    const head = slot * descriptorsPerSlot;
    const flags = VIRTQ_DESC_F_NEXT | (write ? 0 : VIRTQ_DESC_F_WRITE);
    for (let i = head + 1; i < head + descriptorsPerSlot - 1; i++) {
      this.#table.setUint16(i * DESCRIPTOR_BYTES + 12, flags, true);
    }
  }

  #layOut(slot: number, guestBase: number): void {
    const { descriptorsPerSlot, blockBytes, segmentBytes, data } = this.#plan;
    const head = slot * descriptorsPerSlot;
    const last = head + descriptorsPerSlot - 1;
    const envelope = guestBase + this.#plan.envelopes + slot * ENVELOPE_BYTES;
    this.#descriptor(head, envelope, REQUEST_HEADER_BYTES, VIRTQ_DESC_F_NEXT);
    for (let i = head + 1, from = 0; i < last; i++, from += segmentBytes) {
      const address = guestBase + data + slot * blockBytes + from;
      const length = Math.min(segmentBytes, blockBytes - from);
      this.#descriptor(i, address, length, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE);
    }
    this.#descriptor(last, envelope + ENVELOPE_STATUS, 1, VIRTQ_DESC_F_WRITE);
  }

  #descriptor(index: number, address: number, length: number, flags: number): void {
    const at = index * DESCRIPTOR_BYTES;
    this.#table.setBigUint64(at, BigInt(address), true);
    this.#table.setUint32(at + 8, length, true);
    this.#table.setUint16(at + 12, flags, true);
    this.#table.setUint16(at + 14, (flags & VIRTQ_DESC_F_NEXT) !== 0 ? index + 1 : 0, true);
  }
}
