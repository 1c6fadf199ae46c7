// The guard: what waits for what, and two real threads of which at least one must see the other.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isMainThread, workerData } from 'node:worker_threads';
import { startThread } from '../sys/thread.ts';
import { CopyGuard } from './copy-guard.ts';

const ROUNDS = 5000;
/**
 * Words on cache lines of their own: the step that each side has reached, the mark, and whether the copy saw no mark.
 */
const [COPIER, PUNCHER, MARK, SAW_NO_MARK] = [32, 64, 96, 128];

/** Waits until the other side has reached the same step. */
function meet(words: Int32Array, mine: number, theirs: number, step: number): void {
  Atomics.store(words, mine, step);
  for (let looks = 1; Atomics.load(words, theirs) < step; looks++)
    // Time: not tested; on one processor the other side needs a turn.
    if (looks % 20_000 === 0) Atomics.wait(words, mine, step, 1);
}

/** Spends a little time, a different amount at each step. */
function dawdle(words: Int32Array, mine: number, step: number): void {
  let waste = 0;
  for (let i = Math.imul(step + mine, 0x9e3779b1) >>> 23; i > 0; i--) waste ^= i;
  words[mine + 1] = waste;
}

function copy(words: Int32Array, guard: CopyGuard): void {
  for (let step = 1; step < 2 * ROUNDS; step += 2) {
    meet(words, COPIER, PUNCHER, step);
    // With the mark in this processor's cache the load below is faster than the store of `begin`.
    words[COPIER + 2] = words[MARK] as number;
    dawdle(words, COPIER, step);
    guard.begin();
    words[SAW_NO_MARK] = words[MARK] === 0 ? 1 : 0;
    meet(words, COPIER, PUNCHER, step + 1);
    guard.end();
  }
}

/** How often a punch saw the copy, the copy saw the mark, or neither saw the other. */
function punch(words: Int32Array, guard: CopyGuard): { copiesSeen: number; marksSeen: number; neither: number } {
  const seen = { copiesSeen: 0, marksSeen: 0, neither: 0 };
  for (let step = 1; step < 2 * ROUNDS; step += 2) {
    meet(words, PUNCHER, COPIER, step);
    dawdle(words, PUNCHER, step);
    Atomics.store(words, MARK, 1);
    const mayPunch = guard.othersEnded(0);
    meet(words, PUNCHER, COPIER, step + 1);
    if (!mayPunch) seen.copiesSeen++;
    else if (words[SAW_NO_MARK] === 0) seen.marksSeen++;
    else seen.neither++;
    words[MARK] = 0;
  }
  return seen;
}

if (isMainThread) testGuard();
else copy(workerData.words, new CopyGuard(workerData.shared));

function testGuard(): void {
  /** `performance.now()` advances by a second with each call: every wait times out at once. */
  function stopWaiting(context: TestContext): number {
    let nowMs = 0;
    context.mock.method(performance, 'now', () => (nowMs += 1000));
    return performance.now();
  }

  test('a punch waits for the copies of others, not for its own, and not for those that have ended', (context) => {
    const deadlineMs = stopWaiting(context);
    const one = new CopyGuard();
    const two = new CopyGuard(one.shared);
    const three = new CopyGuard(one.shared);
    assert.equal(one.othersEnded(deadlineMs), true);
    two.begin();
    assert.equal(one.othersEnded(deadlineMs), false);
    assert.equal(two.othersEnded(deadlineMs), true);
    three.begin();
    two.end();
    assert.equal(one.othersEnded(deadlineMs), false);
    three.end();
    assert.equal(one.othersEnded(deadlineMs), true);
  });

  test('one thread at a time punches', (context) => {
    const deadlineMs = stopWaiting(context);
    const one = new CopyGuard();
    const two = new CopyGuard(one.shared);
    assert.equal(one.lock(deadlineMs), true);
    assert.equal(two.lock(deadlineMs), false);
    one.unlock();
    assert.equal(two.lock(deadlineMs), true);
    assert.equal(one.lock(deadlineMs), false);
  });

  test('a word that was given back is taken again, and its old owner does not write it any more', (context) => {
    const deadlineMs = stopWaiting(context);
    const first = new CopyGuard();
    const others = Array.from({ length: 255 }, () => new CopyGuard(first.shared));
    assert.throws(() => new CopyGuard(first.shared), /mapped by at most 256 threads/);
    others[7]?.close();
    others[7]?.close();
    const next = new CopyGuard(first.shared);
    assert.throws(() => new CopyGuard(first.shared), /mapped by at most 256 threads/);
    others[7]?.begin();
    assert.equal(first.othersEnded(deadlineMs), true);
    next.begin();
    assert.equal(first.othersEnded(deadlineMs), false);
    others[7]?.end();
    assert.equal(first.othersEnded(deadlineMs), false);
    next.end();
    assert.equal(first.othersEnded(deadlineMs), true);
  });

  test('a punch sees the copy or the copy sees the mark, however close they come', async (context) => {
    const guard = new CopyGuard();
    const words = new Int32Array(new SharedArrayBuffer(1024));
    const worker = startThread(new URL(import.meta.url), { workerData: { words, shared: guard.shared } });
    const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    const seen = punch(words, guard);
    await ended;
    context.diagnostic(JSON.stringify(seen));
    assert.equal(seen.neither, 0);
  });
}
