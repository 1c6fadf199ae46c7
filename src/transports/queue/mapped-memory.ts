// Ground floor: guest memory mapped from its descriptors, and the rings that stand in it.
import { Mapping } from '../../sys/mapping.ts';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import { type SplitLayout, splitLayoutAt } from '../../virtio/split/split-ring.ts';
import type { QueueSetup, SharedRegion } from './queue-host.ts';

export class MappedMemory implements Disposable {
  readonly guest: GuestMemory;
  readonly #mappings: Mapping[] = [];

  /** Throws SystemError, or RangeError where regions overlap. */
  constructor(regions: readonly SharedRegion[]) {
    try {
      const memory = regions.map(({ fd, mapBytes, mmapOffset, guestAddress, sizeBytes }) => {
        const mapping = Mapping.ofFile(fd, mapBytes);
        this.#mappings.push(mapping);
        mapping.keepPrivate();
        return { guestAddress, bytes: mapping.bytes.subarray(mmapOffset, mmapOffset + sizeBytes) };
      });
      this.guest = new GuestMemory(memory);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Throws DriverError where a part of the ring is not in the guest's memory. */
  ringAt(setup: QueueSetup): SplitLayout {
    return splitLayoutAt(this.guest, setup.size, setup);
  }

  [Symbol.dispose](): void {
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
  }
}
