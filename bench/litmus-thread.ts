// bench: one side of the litmus test. The two loops differ in the two accesses that are tested, and in nothing else.
import { parentPort, workerData } from 'node:worker_threads';
import { pinThread } from '../src/sys/cpu.ts';
import { CHUNK_ROUNDS, LINE_WORDS, type LitmusJob } from './litmus.ts';

const { side, shared, rounds, barrier, cpu } = workerData as LitmusJob;
const words = new Int32Array(shared);
const MINE = side * LINE_WORDS;
const THEIRS = (1 - side) * LINE_WORDS;
const SLOTS = 2 * LINE_WORDS;
const SLOT_WORDS = 4 * LINE_WORDS;
/** Loads before it yields its processor. */
const SPINS_MAX = 20_000;
/** Steps by which one may be ahead of the other, so that their accesses meet in every way. */
const JITTER = 64;

/** Waits until the other side has reached `step`. */
function meet(step: number): void {
  Atomics.store(words, MINE, step);
  for (let looks = 1; Atomics.load(words, THEIRS) < step; looks++)
    if (looks % SPINS_MAX === 0) Atomics.wait(words, MINE, step, 1);
}

let seed = 0x9e3779b9 ^ (side + 1);

/** Spins for a random time. */
function spinAtRandom(): void {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  for (let i = seed & (JITTER - 1); i > 0; i--) seed = (seed + 2) | 0;
}

function playOrdered(mine: number, theirs: number): number {
  Atomics.store(words, mine, 1);
  return Atomics.load(words, theirs);
}

function playPlain(mine: number, theirs: number): number {
  words[mine] = 1;
  return words[theirs] as number;
}

/** Returns the rounds of a chunk in which both sides loaded 0, and clears its words. */
function readChunk(): number {
  let missed = 0;
  for (let at = SLOTS; at < words.length; at += SLOT_WORDS) {
    const sawOne = (words[at + 2 * LINE_WORDS] as number) + (words[at + 3 * LINE_WORDS] as number);
    if (sawOne === 0) missed++;
    words[at] = 0;
    words[at + LINE_WORDS] = 0;
  }
  return missed;
}

function play(): number {
  let missed = 0;
  let step = 0;
  for (let chunk = 0; chunk < rounds; chunk += CHUNK_ROUNDS) {
    for (let at = SLOTS; at < words.length; at += SLOT_WORDS) {
      const mine = at + side * LINE_WORDS;
      const theirs = at + (1 - side) * LINE_WORDS;
      meet(++step);
      spinAtRandom();
      const saw = barrier ? playOrdered(mine, theirs) : playPlain(mine, theirs);
      words[at + (2 + side) * LINE_WORDS] = saw;
    }
    meet(++step);
    if (side === 0) missed += readChunk();
    meet(++step);
  }
  return missed;
}

pinThread(0, cpu);
parentPort?.postMessage(play());
