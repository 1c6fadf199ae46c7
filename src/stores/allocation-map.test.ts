// The allocation map: three threads write, discard and zero one chunk, in random interleavings.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMainThread, workerData } from 'node:worker_threads';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { ImageFile } from '../sys/file.ts';
import { startThread } from '../sys/thread.ts';
import { SeededRandom } from '../testing/seeded-random.ts';
import { AllocationMap, type SharedAllocationMap } from './allocation-map.ts';
import { CopyGuard } from './copy-guard.ts';
import { mappedFile } from './mapped-file.ts';
import { memoryFile } from './memory.ts';

const CHUNK = 32 * 1024;
const CHUNKS = 3;
const THREADS = 3;
const ROUNDS = 4000;
/** More switch points, at which another thread may run, than any round has. */
const CHOICES = 256;

const { load, store, add, compareExchange, notify, wait } = Atomics;

/** The words of the scheduler. One thread runs at a time, the one whose number TURN holds. */
const [ROUND, TURN, STEP, UNFINISHED, COPIED_INTO_HOLE, REQUEST] = [0, 1, 2, 3, 4, 8];
const NOBODY = -1;

interface Shared {
  readonly fd: number;
  readonly map: SharedAllocationMap;
  readonly words: Int32Array;
  /** The thread that runs after each switch point of the round. */
  readonly choices: Uint8Array;
  /**
   * 1 for each chunk that has all its pages. lseek(2) cannot show that: for it, pages that were only allocated are a
   * hole.
   */
  readonly allocated: Uint8Array;
}

function waitFor(words: Int32Array, at: number, isWanted: (value: number) => boolean): number {
  for (;;) {
    const value = load(words, at);
    if (isWanted(value)) return value;
    wait(words, at, value);
  }
}

type Writable = Required<Pick<BlockStore, 'write' | 'discard' | 'writeZeroes' | 'close'>>;

/** The store of one of several threads, with a switch point at each atomic and each system call. */
class TestThread {
  readonly #me: number;
  readonly #shared: Shared;
  readonly #store: Writable;
  /** The words that were loaded since the last switch: a thread that waits for a word would load it for ever. */
  #looks = 0;
  #lastLook = -1;

  constructor(me: number, shared: Shared) {
    this.#me = me;
    this.#shared = shared;
    const file = ImageFile.duplicate(shared.fd, 'image', false);
    const { allocate, punchHole } = file;
    file.allocate = (offset, length) => {
      this.#point();
      allocate.call(file, offset, length);
      shared.allocated.fill(1, offset / CHUNK, (offset + length) / CHUNK);
    };
    file.punchHole = (offset, length) => {
      this.#point();
      shared.allocated.fill(0, offset / CHUNK, (offset + length) / CHUNK);
      return punchHole.call(file, offset, length);
    };
    file.writeFrom = () => this.#point();
    this.#store = mappedFile(file, new AllocationMap(file, shared.map)) as Writable;
    this.#watchCalls();
    // Every wait times out after one more load.
    let nowMs = 0;
    performance.now = () => (nowMs += 1000);
  }

  #watchCalls(): void {
    const { begin } = CopyGuard.prototype;
    const point = (): void => this.#point();
    CopyGuard.prototype.begin = function () {
      point();
      begin.call(this);
      point();
    };
    Object.assign(Atomics, {
      load: (array: Int32Array, index: number) => {
        if (index !== this.#lastLook) this.#looks = 0;
        this.#lastLook = index;
        if (this.#looks++ < 2) this.#point();
        return load(array, index);
      },
      store: (array: Int32Array, index: number, value: number) => {
        this.#point();
        return store(array, index, value);
      },
      compareExchange: (array: Int32Array, index: number, expected: number, value: number) => {
        this.#point();
        return compareExchange(array, index, expected, value);
      },
    });
  }

  /** A switch point: another thread may run here. */
  #point(): void {
    const { words, choices } = this.#shared;
    const next = choices[add(words, STEP, 1)] as number;
    if (next === this.#me || (load(words, UNFINISHED) & (1 << next)) === 0) return;
    this.#give(next);
    waitFor(words, TURN, (turn) => turn === this.#me);
  }

  #give(turn: number): void {
    store(this.#shared.words, TURN, turn);
    notify(this.#shared.words, TURN);
  }

  /** 512 bytes that are copied one by one: in a hole of a full file system the copy would raise SIGBUS. */
  #source(chunk: number): Uint8Array {
    const source = Object.defineProperty({ length: 512 }, 511, {
      get: () => {
        this.#point();
        if (this.#shared.allocated[chunk] !== 1) store(this.#shared.words, COPIED_INTO_HOLE, 1);
      },
    });
    return source as unknown as Uint8Array;
  }

  /** Does this thread's request of the round. */
  play(): void {
    const { words } = this.#shared;
    waitFor(words, TURN, (turn) => turn === this.#me);
    const request = load(words, REQUEST + this.#me);
    if (request === 0) this.#store.write(CHUNK, this.#source(1));
    else if (request === 1) this.#store.discard(CHUNK, CHUNK);
    else this.#store.writeZeroes(0, 2 * CHUNK, true);
    const unfinished = Atomics.and(words, UNFINISHED, ~(1 << this.#me)) & ~(1 << this.#me);
    this.#give(unfinished === 0 ? NOBODY : 31 - Math.clz32(unfinished));
  }

  close(): void {
    this.#store.close();
  }
}

/** A worker: serves one request a round, until the round is NOBODY. */
function work(me: number, shared: Shared): void {
  const thread = new TestThread(me, shared);
  for (let round = 0; ; ) {
    round = waitFor(shared.words, ROUND, (value) => value !== round);
    if (round === NOBODY) break;
    thread.play();
  }
  thread.close();
}

/** Prepares the chunks for a round: all of them ALLOCATED with pages, or all of them UNKNOWN and holes. */
function prepare({ map, allocated }: Shared, file: ImageFile, isAllocated: boolean): void {
  if (isAllocated) file.allocate(0, CHUNKS * CHUNK);
  else file.punchHole(0, CHUNKS * CHUNK);
  allocated.fill(isAllocated ? 1 : 0);
  new Uint8Array(map.chunks).fill(isAllocated ? 1 : 0);
}

/** Makes each thread do one request, interleaved as `random` draws. */
function playRound({ words, choices }: Shared, main: TestThread, round: number, random: SeededRandom): void {
  for (let i = 0; i < CHOICES; i++) choices[i] = random.oneIn(3) ? random.below(THREADS) : (choices[i - 1] ?? 0);
  for (let i = 0; i < THREADS; i++) words[REQUEST + i] = random.below(3);
  store(words, STEP, 0);
  store(words, UNFINISHED, (1 << THREADS) - 1);
  store(words, ROUND, round);
  notify(words, ROUND);
  store(words, TURN, choices[0] as number);
  notify(words, TURN);
  main.play();
  waitFor(words, TURN, (turn) => turn === NOBODY);
}

if (!isMainThread) work(workerData.me, workerData.shared);
else {
  test('no chunk is punched while another thread copies, and none is taken for allocated that is a hole', async () => {
    using file = memoryFile(CHUNKS * CHUNK);
    const shared: Shared = {
      fd: file.fd,
      map: new AllocationMap(file).share(),
      words: new Int32Array(new SharedArrayBuffer(64)),
      choices: new Uint8Array(new SharedArrayBuffer(CHOICES)),
      allocated: new Uint8Array(new SharedArrayBuffer(CHUNKS)),
    };
    const { words, allocated } = shared;
    const states = new Uint8Array(shared.map.chunks);
    const workers = [1, 2].map((me) => startThread(new URL(import.meta.url), { workerData: { me, shared } }));
    const ended = Promise.all(
      workers.map((worker) => new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))),
    );
    const main = new TestThread(0, shared);
    try {
      for (let round = 1; round <= ROUNDS; round++) {
        const random = new SeededRandom(round);
        prepare(shared, file, random.flip());
        playRound(shared, main, round, random);
        assert.equal(words[COPIED_INTO_HOLE], 0, `round ${round}: a write copied into a hole`);
        for (const [chunk, state] of states.entries()) {
          assert.ok(state <= 1, `round ${round}: chunk ${chunk} is left in state ${state}`);
          assert.ok(
            state === 0 || allocated[chunk] === 1,
            `round ${round}: chunk ${chunk} is a hole taken for allocated`,
          );
        }
      }
    } finally {
      store(words, ROUND, NOBODY);
      notify(words, ROUND);
      main.close();
    }
    await ended;
  });
}
