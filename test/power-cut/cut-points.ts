// test/power-cut: where the power is cut, and what survives: every flush, and seeded points between.
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { durableHorizon, type Fate, type FateOf } from './cut.ts';
import type { Recording } from './recording.ts';

/** How much of what was not durable survives. */
const SURVIVALS = ['none', 'few', 'half', 'most', 'all', 'all but one', 'one'] as const;
export type Survival = (typeof SURVIVALS)[number];

export interface CutPoint {
  /** Its number in the run: with the seed, it gives the same choices. */
  readonly number: number;
  /** The power is cut before this event. */
  readonly at: number;
  readonly survival: Survival;
  /** Whether it is right after the end of a flush. */
  readonly isAtFlush: boolean;
  /** Of the choices of this point. */
  readonly seed: number;
}

const SEEDS_APART = 1_000_003;
const FLUSH_SHARE_MAX = 0.75;
const TRIES_MAX = 32;

/**
 * Returns `count` points from the event `from` on, in the order of their events. One is after each flush, where nothing
 * that it does not cover survives; where there are more flushes than three of four points, these are spread over them.
 * The others are anywhere, if possible where some changes are not durable.
 */
export function cutPoints(recording: Recording, { from, count, seed }: CutPointOptions): readonly CutPoint[] {
  const random = new SeededRandom(seed);
  const ends = recording.flushes.map(({ ended }) => ended).filter((ended) => ended >= from && Number.isFinite(ended));
  const flushPoints = Math.min(ends.length, Math.ceil(count * FLUSH_SHARE_MAX));
  const step = ends.length / flushPoints;
  const atFlushes = Array.from({ length: flushPoints }, (_, i) => ({
    at: (ends[Math.floor(i * step)] as number) + 1,
    survival: 'none' as Survival,
    isAtFlush: true,
  }));
  const between = Array.from({ length: count - atFlushes.length }, () => ({
    at: eventWithPending(recording, from, random),
    survival: random.of(SURVIVALS),
    isAtFlush: false,
  }));
  return [...atFlushes, ...between]
    .sort((a, b) => a.at - b.at)
    .map((point, number) => ({ ...point, number, seed: seed * SEEDS_APART + number }));
}

/** Returns an event after `from` at which a change is not durable, or any where such ones are rare. */
function eventWithPending(recording: Recording, from: number, random: SeededRandom): number {
  let at = from;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    at = from + 1 + random.below(recording.events - from);
    const horizon = Math.max(from, durableHorizon(recording, at));
    if (recording.changes.some(({ begun, ended }) => begun < at && ended >= horizon)) return at;
  }
  return at;
}

export interface CutPointOptions {
  readonly from: number;
  readonly count: number;
  readonly seed: number;
}

/** How many of 16 changes survive, in the survivals that are a share. */
const SHARES: Partial<Record<Survival, number>> = { few: 2, half: 8, most: 14 };

/** Returns how the fates of `count` pending changes are chosen. Of those that survive in a share, a half is damaged. */
export function fatesFor(survival: Survival, count: number, random: SeededRandom): FateOf {
  const special = random.below(Math.max(1, count));
  const damaged = (): Fate => random.of(['whole', 'whole', 'torn', 'short'] as const);
  const share = SHARES[survival] ?? 0;
  const table: Record<Survival, FateOf> = {
    none: () => 'absent',
    all: () => 'whole',
    one: (_, index) => (index === special ? damaged() : 'absent'),
    'all but one': (_, index) => (index === special ? random.of(['absent', 'torn', 'short'] as const) : 'whole'),
    few: () => (random.below(16) < share ? damaged() : 'absent'),
    half: () => (random.below(16) < share ? damaged() : 'absent'),
    most: () => (random.below(16) < share ? damaged() : 'absent'),
  };
  return table[survival];
}
