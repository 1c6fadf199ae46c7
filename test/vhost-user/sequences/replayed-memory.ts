// test/vhost-user/sequences: the memory that is shared in a replay, and the piece of it for each ring.
import { DriverMemory } from '../../../src/testing/driver-memory.ts';
import type { Fields } from './message-fields.ts';
import type { ReplayedDescriptors } from './replayed-descriptors.ts';

/** Each ring and its requests take this much, from here on. */
const RING_BYTES = 2 << 20;
const FIRST_RING_AT = 16 << 20;

interface SharedRegion {
  readonly guest: number;
  readonly size: number;
  readonly user: number;
  readonly offset: number;
  readonly file: string;
}

/** What a ring and its requests are taken from. */
export interface RingMemory {
  readonly memory: DriverMemory;
  /** Where its first byte is in the front end's own address space, in which ring addresses are given. */
  readonly user: number;
}

export class ReplayedMemory {
  readonly #descriptors: ReplayedDescriptors;
  readonly #ofRing: RingMemory[] = [];
  #regions: SharedRegion[] = [];

  constructor(descriptors: ReplayedDescriptors) {
    this.#descriptors = descriptors;
  }

  /** A session begins. */
  forget(): void {
    this.#regions = [];
  }

  /** SET_MEM_TABLE, with the names of its descriptors. */
  set(regions: readonly Fields[], files: readonly string[]): void {
    this.#regions = regions.map((region, i) => sharedRegion(region, files[i] as string));
  }

  /** ADD_MEM_REG. */
  add(region: Fields, file: string): void {
    this.#regions.push(sharedRegion(region, file));
  }

  /** REM_MEM_REG. */
  remove(region: Fields): void {
    this.#regions = this.#regions.filter(({ guest }) => guest !== Number(region.guest));
  }

  /** A piece of the region that is the largest when the ring is first set up. Throws when there is none. */
  ofRing(index: number): RingMemory {
    this.#ofRing[index] ??= this.#take(index);
    return this.#ofRing[index];
  }

  #take(index: number): RingMemory {
    const [largest] = this.#regions.toSorted((a, b) => b.size - a.size);
    if (largest === undefined) throw new Error('a ring is set up before any memory is shared');
    const { guest, user, offset, size, file } = largest;
    const piece = FIRST_RING_AT + index * RING_BYTES;
    // libblkio shares a region of its own for a ring and its headers.
    const from = piece + RING_BYTES <= size ? piece : 0;
    const bytes = this.#descriptors.memory(file).subarray(offset + from, offset + Math.min(size, from + RING_BYTES));
    return { memory: new DriverMemory(bytes, guest + from), user: user + from };
  }
}

function sharedRegion({ guest, size, user, offset }: Fields, file: string): SharedRegion {
  return { guest: Number(guest), size: Number(size), user: Number(user), offset: Number(offset), file };
}
