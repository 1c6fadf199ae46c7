// test/vhost-user/sequences: a disk that knows what should be on it, and counts the writes of each sector.
import type { BlockStore } from '../../../src/devices/blk/block-store.ts';
import { type BlockRequest, blockRequest } from '../../../src/testing/block-request.ts';
import { arrayStore, pattern } from '../../reference/array-store.ts';

const SECTOR_BYTES = 512;
const SECTORS = 128;
/** A sector that no request of a driver uses. */
export const TRAP_SECTOR = SECTORS - 1;
/** How many turns of the loop a slow request takes. */
const SLOW_TURNS = 3;

export class WitnessedDisk {
  readonly #array = arrayStore(pattern(SECTORS * SECTOR_BYTES));
  readonly #expected = pattern(SECTORS * SECTOR_BYTES);
  readonly #writes = new Array<number>(SECTORS).fill(0);
  /** Sectors whose write was given up with its ring: it was done once or never. */
  readonly #uncertain = new Set<number>();
  readonly store: BlockStore;
  #next = 0;
  /** Writes and flushes that the store was asked for. */
  writes = 0;
  flushes = 0;

  /** `slow`: a write takes some turns of the loop. */
  constructor({ slow }: { readonly slow: boolean }) {
    const inner = this.#array;
    const later = async (): Promise<void> => {
      for (let i = 0; slow && i < SLOW_TURNS; i++) await new Promise((resolve) => setImmediate(resolve));
    };
    this.store = {
      ...inner,
      write: (offset, from) => {
        this.writes++;
        this.#writes[offset / SECTOR_BYTES]!++;
        if (!slow) return inner.write(offset, from);
        return later().then(() => inner.write(offset, from));
      },
      flush: () => {
        this.flushes++;
      },
    };
  }

  /** A write to a sector that no other request ever writes. */
  newWrite(): BlockRequest {
    const sector = this.#next++;
    if (sector >= TRAP_SECTOR) throw new RangeError('a recording with more requests than this disk has sectors');
    return blockRequest.write(sector, pattern(SECTOR_BYTES, 1 + (sector % 250)));
  }

  /** What a driver knows once a write came back. */
  written({ sector, out }: BlockRequest): void {
    this.#expected.set(out, sector * SECTOR_BYTES);
  }

  /** A write that was still under way when its ring was given up. */
  givenUp({ sector }: BlockRequest): void {
    this.#uncertain.add(sector);
  }

  /** What a read of this sector must give. */
  expectedAt(sector: number): Uint8Array {
    return this.#expected.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  }

  /** One line for each sector that is not as it should be. `pending`: writes that are under way. */
  problems(pending: ReadonlySet<number>): string[] {
    const found: string[] = [];
    for (let sector = 0; sector < SECTORS; sector++) {
      const times = this.#writes[sector] as number;
      const isDone = sector < this.#next && !pending.has(sector) && !this.#uncertain.has(sector);
      if (times > 1 || (sector >= this.#next && times > 0)) found.push(`sector ${sector} was written ${times} times`);
      if (isDone && times === 0) found.push(`sector ${sector} was never written`);
      const now = this.#array.bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
      const isAsExpected = this.expectedAt(sector).every((byte, i) => byte === now[i]);
      if (!isAsExpected && (isDone || sector >= this.#next)) found.push(`sector ${sector} has changed`);
    }
    return found;
  }
}
