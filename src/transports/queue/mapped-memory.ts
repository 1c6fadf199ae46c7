// queue: guest memory mapped from its descriptors, region by region, and the areas of a ring in it.
import { fstatSync } from 'node:fs';
import { Mapping } from '../../sys/mapping.ts';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import type { AreaBytes, RingAreas, RingFormat } from '../../virtio/ring-format.ts';
import type { InFlightPart, SharedRegion } from './queue-host.ts';

interface MappedRegion {
  readonly guestAddress: number;
  readonly mapping: Mapping;
}

/** Maps a queue's record of requests in flight. Throws SystemError. */
export function mapPart({ fd, fileOffset, sizeBytes }: InFlightPart): Mapping {
  return Mapping.ofFileRange(fd, fileOffset, sizeBytes, fstatSync(fd).blksize);
}

/** Maps shared regions into a GuestMemory. */
export class MappedMemory implements Disposable {
  readonly guest: GuestMemory;
  readonly #mapped = new Map<number, MappedRegion>();

  /** @param guest the memory to which the mapped regions are added. Default: an empty one. */
  constructor(guest = new GuestMemory()) {
    this.guest = guest;
  }

  /**
   * Maps new regions and unmaps those that are gone; the others stay mapped.
   * Throws SystemError, or RangeError where regions overlap; the regions mapped until then stay.
   */
  set(regions: readonly SharedRegion[]): void {
    const wanted = new Set(regions.map(({ id }) => id));
    for (const [id, region] of this.#mapped) if (!wanted.has(id)) this.#remove(id, region);
    for (const region of regions) if (!this.#mapped.has(region.id)) this.#add(region);
  }

  #add({ id, fd, fileOffset, sizeBytes, blockBytes, guestAddress }: SharedRegion): void {
    // Map only the region's part of the file: one file may hold hundreds of regions.
    const start = Math.floor(fileOffset / blockBytes) * blockBytes;
    const mapBytes = Math.ceil((fileOffset + sizeBytes - start) / blockBytes) * blockBytes;
    const mapping = Mapping.ofFile(fd, mapBytes, { offset: start });
    try {
      mapping.keepPrivate();
      const at = fileOffset - start;
      this.guest.add({ guestAddress, bytes: mapping.bytes.subarray(at, at + sizeBytes) });
    } catch (error) {
      mapping[Symbol.dispose]();
      throw error;
    }
    this.#mapped.set(id, { guestAddress, mapping });
  }

  #remove(id: number, { guestAddress, mapping }: MappedRegion): void {
    this.guest.remove(guestAddress);
    this.#mapped.delete(id);
    mapping[Symbol.dispose]();
  }

  /** Returns the bytes of a ring's areas. Throws DriverError where one is not in guest memory. */
  ring(format: RingFormat, size: number, areas: RingAreas): AreaBytes {
    const bytes = format.bytes(size);
    return {
      descriptorArea: this.guest.slice(areas.descriptorArea, bytes.descriptorArea),
      driverArea: this.guest.slice(areas.driverArea, bytes.driverArea),
      deviceArea: this.guest.slice(areas.deviceArea, bytes.deviceArea),
    };
  }

  [Symbol.dispose](): void {
    for (const [id, region] of this.#mapped) this.#remove(id, region);
  }
}
