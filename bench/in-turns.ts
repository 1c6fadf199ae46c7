// bench: runs what is compared in turns, so that what changes with time changes for all alike.

export interface Turns<Step> {
  readonly rounds: number;
  readonly steps: readonly Step[];
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs every step once a round, in the same order: what stands side by side is measured side by side. Round 0 comes before the
 * others and warms up compilers, caches and page tables. Throws what `run` throws, and the signal's reason without waiting for it.
 */
export async function inTurns<Step>(
  { rounds, steps, signal }: Turns<Step>,
  run: (step: Step, round: number) => Promise<void>,
): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  // After the end it is nobody's business.
  aborted.catch(() => {});
  for (let round = 0; round <= rounds; round++) {
    for (const step of steps) {
      signal?.throwIfAborted();
      await Promise.race([run(step, round), aborted]);
    }
  }
}
