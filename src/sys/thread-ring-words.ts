// sys: the memory that a ThreadRing shares with its threads: words, and fields of the operations by slot.

/** Indices of words. */
export const WORD = {
  /** Operations that were submitted, and those that threads have taken: positions in `queued`. */
  tail: 0,
  head: 1,
  /** Positions in `done` that threads have claimed, and how many of them they have written. */
  doneTail: 2,
  completed: 3,
  /** 1: the ring's descriptor was signalled, or is about to be, and `reap` was not called since. */
  signalled: 4,
  /** Changes whenever threads that wait have something to do. */
  wakeUps: 5,
  /** Threads that wait for that. */
  waiting: 6,
  /** 1: the threads end. */
  stop: 7,
} as const;

/** What a thread does, and the system call of it. */
export const OPERATION = { read: 0, write: 1, fdatasync: 2, fallocate: 3 } as const;

/** Fields of a slot, as doubles, which hold every offset of a file. */
export const FIELD = {
  operation: 0,
  fd: 1,
  offset: 2,
  /** The count of struct iovecs, which are in the slot's part of the vectors; or the mode of fallocate(2). */
  count: 3,
  /** Of fallocate(2). */
  length: 4,
  /** Written by the thread. */
  result: 5,
} as const;
const FIELDS = 6;
const WORDS = 8;

/** Views of the shared memory for `entries` operations, a power of two. */
export class ThreadRingMemory {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Slots in the order in which they were submitted, and in which they completed plus 1; 0: not written yet. */
  readonly queued: Int32Array<SharedArrayBuffer>;
  readonly done: Int32Array<SharedArrayBuffer>;
  readonly fields: Float64Array<SharedArrayBuffer>;
  readonly mask: number;

  constructor(entries: number, buffer = new SharedArrayBuffer(4 * (WORDS + 2 * entries) + 8 * FIELDS * entries)) {
    this.words = new Int32Array(buffer, 0, WORDS);
    this.queued = new Int32Array(buffer, 4 * WORDS, entries);
    this.done = new Int32Array(buffer, 4 * (WORDS + entries), entries);
    this.fields = new Float64Array(buffer, 4 * (WORDS + 2 * entries), FIELDS * entries);
    this.mask = entries - 1;
  }

  /** Takes the oldest operation that nobody has taken. Returns its slot; undefined when there is none. */
  take(): number | undefined {
    const { words, queued, mask } = this;
    for (;;) {
      const head = Atomics.load(words, WORD.head);
      if (head === Atomics.load(words, WORD.tail)) return undefined;
      const slot = Atomics.load(queued, head & mask);
      // If another thread took it meanwhile, the slot that was read may be a later one's.
      if (Atomics.compareExchange(words, WORD.head, head, (head + 1) | 0) === head) return slot;
    }
  }

  field(slot: number, field: number): number {
    return this.fields[slot * FIELDS + field] as number;
  }

  setField(slot: number, field: number, value: number): void {
    this.fields[slot * FIELDS + field] = value;
  }
}

/** What a thread gets when it starts. */
export interface ThreadRingSetup {
  readonly buffer: SharedArrayBuffer;
  readonly entries: number;
  /** The eventfd that tells of completions. */
  readonly fd: number;
  /** The address of the vectors, and the bytes of a slot's part. */
  readonly vectors: bigint;
  readonly vectorBytes: number;
}
