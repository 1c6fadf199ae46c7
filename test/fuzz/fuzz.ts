// Rounds of a hostile driver, one seed after the other, for as long as there is time.
import { GuestImage } from './guest-image.ts';
import { hostileRound } from './hostile-round.ts';

export interface FuzzResult {
  readonly rounds: number;
  readonly chains: number;
  /** What was found, and how to see it again. */
  readonly failure?: string;
}

/** Plays rounds from `seed` on until `timeoutMs` is over or one fails. */
export async function fuzz(seed: number, timeoutMs: number, roundsMax = Number.POSITIVE_INFINITY): Promise<FuzzResult> {
  const image = new GuestImage();
  const endMs = performance.now() + timeoutMs;
  let rounds = 0;
  let chains = 0;
  for (; rounds < roundsMax && performance.now() < endMs; rounds++) {
    try {
      chains += await hostileRound(seed + rounds, image);
    } catch (error) {
      const command = `npm run fuzz -- --seed ${seed + rounds} --rounds 1`;
      return { rounds, chains, failure: `seed ${seed + rounds}: ${(error as Error).stack}\nAgain with: ${command}` };
    }
  }
  return { rounds, chains };
}
