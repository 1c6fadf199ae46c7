// queue: guest memory mapped from its descriptors, region by region, and the areas of a ring in it.
import { fstatSync } from 'node:fs';
import { Mapping } from '../../sys/mapping.ts';
import { DirtyLog } from '../../virtio/dirty-log.ts';
import { GuestMemory } from '../../virtio/guest-memory.ts';
import type { AreaBytes, RingAreas, RingFormat } from '../../virtio/ring-format.ts';
import type { DirtyLogPart, InFlightPart, SharedRegion } from './queue-host.ts';

interface MappedRegion {
  readonly guestAddress: number;
  readonly mapping: Mapping;
}

/** Maps a queue's record of requests in flight, or a log. Throws SystemError. */
export function mapPart({ fd, fileOffset, sizeBytes }: InFlightPart | DirtyLogPart): Mapping {
  return Mapping.ofFileRange(fd, fileOffset, sizeBytes, fstatSync(fd).blksize);
}

/** Maps shared regions into a GuestMemory. */
export class MappedMemory implements Disposable {
  readonly guest: GuestMemory;
  readonly #mapped = new Map<number, MappedRegion>();
  #log: { readonly id: number; readonly mapping: Mapping } | undefined;

  /** @param guest the memory to which the mapped regions are added. Default: an empty one. */
  constructor(guest = new GuestMemory()) {
    this.guest = guest;
  }

  /**
   * Maps new regions and unmaps those that are gone; the others stay mapped. The same for the log of written pages.
   * Throws SystemError, or RangeError where regions overlap; the regions mapped until then stay.
   */
  set(regions: readonly SharedRegion[], log?: DirtyLogPart): void {
    this.#setLog(log);
    const wanted = new Set(regions.map(({ id }) => id));
    for (const [id, region] of this.#mapped) if (!wanted.has(id)) this.#remove(id, region);
    for (const region of regions) if (!this.#mapped.has(region.id)) this.#add(region);
  }

  #setLog(log: DirtyLogPart | undefined): void {
    const before = this.#log;
    if (before?.id === log?.id) return;
    this.#log = log && { id: log.id, mapping: mapPart(log) };
    this.guest.dirty = this.#log && new DirtyLog(this.#log.mapping.bytes);
    before?.mapping[Symbol.dispose]();
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
    this.#setLog(undefined);
    for (const [id, region] of this.#mapped) this.#remove(id, region);
  }
}
