// virtio-blk: what a disk has done, by kind of request and outcome, in memory that other threads can read.
import * as blk from './spec.ts';

/** The kinds of requests, by their place in the memory. */
export const BLOCK_KINDS = ['read', 'write', 'flush', 'discard', 'write_zeroes', 'get_id', 'other'] as const;
/** The outcomes, by the status byte of a request. */
export const BLOCK_OUTCOMES = ['ok', 'error', 'unsupported'] as const;

export type BlockKind = (typeof BLOCK_KINDS)[number];
export type BlockOutcome = (typeof BLOCK_OUTCOMES)[number];

const TYPES: Readonly<Record<number, BlockKind>> = {
  [blk.VIRTIO_BLK_T_IN]: 'read',
  [blk.VIRTIO_BLK_T_OUT]: 'write',
  [blk.VIRTIO_BLK_T_FLUSH]: 'flush',
  [blk.VIRTIO_BLK_T_DISCARD]: 'discard',
  [blk.VIRTIO_BLK_T_WRITE_ZEROES]: 'write_zeroes',
  [blk.VIRTIO_BLK_T_GET_ID]: 'get_id',
};
/** By request type: where its outcomes begin. A type beyond the table is `other`. */
const FIRST_WORDS = Uint8Array.from(
  { length: 16 },
  (_, type) => BLOCK_KINDS.indexOf(TYPES[type] ?? 'other') * BLOCK_OUTCOMES.length,
);
const OTHER = BLOCK_KINDS.indexOf('other') * BLOCK_OUTCOMES.length;
const READ_BYTES = BLOCK_KINDS.length * BLOCK_OUTCOMES.length;
const WRITTEN_BYTES = READ_BYTES + 1;

/** The counts of one device instance, which alone writes them, with plain stores of 64 bits. */
export class BlockCounts {
  readonly memory: SharedArrayBuffer;
  readonly #words: Float64Array;

  /** @param memory of another thread's counts, to read those. Default: new counts. */
  constructor(memory = new SharedArrayBuffer(8 * (WRITTEN_BYTES + 1))) {
    this.memory = memory;
    this.#words = new Float64Array(memory);
  }

  /** Counts a request. `status`: its status byte. */
  add(type: number, status: number): void {
    const at = (FIRST_WORDS[type] ?? OTHER) + status;
    this.#words[at] = (this.#words[at] as number) + 1;
  }

  /** Counts the bytes of a read or write that was in range. */
  addBytes(isRead: boolean, bytes: number): void {
    const at = isRead ? READ_BYTES : WRITTEN_BYTES;
    this.#words[at] = (this.#words[at] as number) + bytes;
  }

  countOf(kind: BlockKind, outcome: BlockOutcome): number {
    return this.#words[BLOCK_KINDS.indexOf(kind) * BLOCK_OUTCOMES.length + BLOCK_OUTCOMES.indexOf(outcome)] as number;
  }

  /** Bytes of the read requests that were in range. */
  get read(): number {
    return this.#words[READ_BYTES] as number;
  }

  /** Bytes of the write requests that were in range. */
  get written(): number {
    return this.#words[WRITTEN_BYTES] as number;
  }
}
