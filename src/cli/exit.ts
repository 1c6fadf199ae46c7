// Upper floor: the end of the process, once what there is to say is written.
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitNow } from '../sys/process-exit.ts';

/** A reader that has not taken the last lines after so long does not get them. */
const OUTPUT_MS = 1000;

/**
 * Ends the process with `code` when its output is written, after a second at the latest. Nothing else is waited for: neither threads, nor
 * timers and sockets that somebody's module keeps.
 */
export async function exitAfterOutput(code: number): Promise<never> {
  await Promise.race([Promise.all([process.stdout, process.stderr].map(written)), sleep(OUTPUT_MS)]);
  exitNow(code);
}

function written(stream: Writable): Promise<void> {
  // A pipe whose reader is gone, too.
  return new Promise((resolve) => (stream.writable ? stream.write('', () => resolve()) : resolve()));
}
