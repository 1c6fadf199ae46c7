// bench: runs the steps that are compared in turns, so that changes of the machine affect all of them alike.

export interface Turns<Step> {
  readonly rounds: number;
  readonly steps: readonly Step[];
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs every step once a round, in the same order, so that what is compared is measured close together in time. Round 0
 * comes first and warms up compilers, caches and page tables. Throws what `run` throws, or the signal's reason at once.
 */
export async function inTurns<Step>(
  { rounds, steps, signal }: Turns<Step>,
  run: (step: Step, round: number) => Promise<void>,
): Promise<void> {
  const aborted = new Promise<never>((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  // An abort after the last step must not become an unhandled rejection.
  aborted.catch(() => {});
  for (let round = 0; round <= rounds; round++) {
    for (const step of steps) {
      signal?.throwIfAborted();
      await Promise.race([run(step, round), aborted]);
    }
  }
}
