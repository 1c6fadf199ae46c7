// virtio: one request: follows its descriptors, within bounds, and sorts them by direction (§2.7.4).
import { DriverError } from './errors.ts';
import type { GuestMemory } from './guest-memory.ts';
import { Segments } from './segments.ts';
import { DESCRIPTOR_BYTES, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from './spec.ts';

/**
 * Descriptors in a chain at most, as in QEMU. Drivers stay under it: seg_max of a disk is 126. It bounds the cost of
 * one request.
 */
export const CHAIN_MAX = 1024;
const CHAIN_BYTES_MAX = 2 ** 32;

/**
 * One request, or one buffer to fill: bytes for the device to read, then room for it to write. A device gets it from
 * `DeviceQueue.drain` or `take`, and returns it with `markUsed`. Afterwards the object is reused for another request.
 *
 * @example An answer of at most 8 bytes, whatever was asked:
 * queue.drain((chain) => {
 *   const answer = chain.writable.range(0, Math.min(8, chain.writable.totalBytes));
 *   for (const piece of answer) crypto.getRandomValues(piece);
 *   queue.markUsed(chain, answer.reduce((sum, { length }) => sum + length, 0));
 * });
 */
export class DescriptorChain {
  /** Index of the first descriptor. It identifies the request in the used ring. */
  head = 0;
  /** When the queue popped it, in ms of `performance.now()`. */
  poppedAtMs = 0;
  /** The available index of a buffer that the device got from `take`. For the queue. */
  takenFrom: number | undefined;
  /** The device-readable part. */
  readonly readable = new Segments();
  /** The device-writable part. */
  readonly writable = new Segments();

  /** Bytes of both parts. */
  get totalBytes(): number {
    return this.readable.totalBytes + this.writable.totalBytes;
  }

  /**
   * Follows the chain from `head`. Every word that the driver can change is read once.
   * @param table the descriptor table, `size` entries. Throws DriverError.
   */
  load(head: number, table: DataView<ArrayBuffer>, size: number, memory: GuestMemory, indirectOffered: boolean): void {
    this.head = head;
    this.readable.clear();
    this.writable.clear();
    let view = table;
    let base = 0;
    let entries = size;
    let direct = true;
    for (let index = head, left = Math.min(size, CHAIN_MAX); ; left--) {
      if (index >= entries) throw new DriverError('§2.7.5', `descriptor ${index} of a table of ${entries}`);
      if (left === 0)
        throw new DriverError('§2.7.5.2', `the chain from descriptor ${head} is endless, or longer than ${CHAIN_MAX}`);
      const at = base + index * DESCRIPTOR_BYTES;
      const address = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
      const length = view.getUint32(at + 8, true);
      const flagsAndNext = view.getUint32(at + 12, true);
      if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) === 0) {
        this.#append(memory, address, length, (flagsAndNext & VIRTQ_DESC_F_WRITE) !== 0);
        if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return;
        index = flagsAndNext >>> 16;
        continue;
      }
      // "The device MUST ignore the write-only flag in the descriptor that refers to an indirect table."
      if (!indirectOffered || !direct)
        throw new DriverError(
          '§2.7.5.3.1',
          direct ? 'INDIRECT was not negotiated' : 'an indirect table in an indirect table',
        );
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) !== 0)
        throw new DriverError('§2.7.5.3.1', 'INDIRECT and NEXT in one descriptor');
      if (length === 0 || length % DESCRIPTOR_BYTES !== 0)
        throw new DriverError('§2.7.5.3', `an indirect table of ${length} bytes`);
      const slot = memory.slotOf(address, length);
      view = slot.view;
      base = address - slot.start;
      entries = length / DESCRIPTOR_BYTES;
      direct = false;
      index = 0;
      left = Math.min(entries, CHAIN_MAX) + 1;
    }
  }

  #append(memory: GuestMemory, address: number, length: number, writable: boolean): void {
    if (writable) this.writable.push(memory, address, length);
    else if (this.writable.count > 0)
      throw new DriverError('§2.7.4.2', 'a device-readable descriptor after a device-writable one');
    else this.readable.push(memory, address, length);
    if (this.totalBytes > CHAIN_BYTES_MAX) throw new DriverError('§2.7.5.2', 'a chain longer than 2^32 bytes');
  }
}
