// cli: ends the process after its output is written.
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitNow } from '../sys/process-exit.ts';

/** How long the last lines wait for a reader. */
const OUTPUT_MS = 1000;

/**
 * Ends the process with `code` when its output is written, after a second at the latest. Does not wait for threads, nor
 * for timers and sockets that a user's module keeps.
 */
export async function exitAfterOutput(code: number): Promise<never> {
  await Promise.race([Promise.all([process.stdout, process.stderr].map(written)), sleep(OUTPUT_MS)]);
  exitNow(code);
}

function written(stream: Writable): Promise<void> {
  // A stream that is closed or broken counts as written.
  return new Promise((resolve) => (stream.writable ? stream.write('', () => resolve()) : resolve()));
}
