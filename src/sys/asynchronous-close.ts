// sys: close(2) on a thread of its own, for a descriptor whose close may block. pthread_create(3).
import { constants as os } from 'node:os';
import { SIG_BLOCK, SIG_SETMASK } from './constants.ts';
import { libc } from './libc.ts';
import { callScratch } from './scratch.ts';

/** The limit of closes under way at once, for each calling thread. A close that blocks occupies a thread. */
export const CLOSES_MAX = 256;

const SIGSET_BYTES = 128;
const OLD_SET = SIGSET_BYTES;
const THREAD = 2 * SIGSET_BYTES;

/** The pthread_t of each close that was still under way at the last check. */
let closing: readonly bigint[] = [];
let leaked = 0;
let report: (line: string) => void = () => {};

/**
 * Closes `fd` without blocking this thread, however long close(2) takes. node:fs is not used for this: four such closes
 * would occupy libuv's whole pool, and a thread that never returns to libuv's loop would not see them complete.
 *
 * Past `CLOSES_MAX` the descriptor stays open on purpose and is counted. A close in this thread could block it for as
 * long as the sender of the descriptor chooses; a leaked descriptor costs less.
 */
export function closeAsynchronously(fd: number): void {
  if (closesPending() < CLOSES_MAX && startThread(fd)) return;
  leaked++;
  report(
    `${closing.length} descriptors that were received are still being closed: one more stays open, ${leaked} so far`,
  );
}

/** Returns how many closes of this thread are still under way. */
export function closesPending(): number {
  // SAFETY: each thread is joined once, since a joined one is dropped; a null address discards its result.
  closing = closing.filter((thread) => libc.pthread_tryjoin_np(thread, 0n) === os.errno.EBUSY);
  return closing.length;
}

/** Returns how many descriptors this thread left open because too many closes were under way. */
export function leakedDescriptors(): number {
  return leaked;
}

/** Calls `log` with a line for each descriptor that stays open. Without it they are only counted. */
export function reportLeaks(log: (line: string) => void): void {
  report = log;
}

function startThread(fd: number): boolean {
  const { bytes, view, address } = callScratch;
  // The thread must take no signal meant for the process: it could not handle it while it waits in close(2).
  bytes.fill(0xff, 0, SIGSET_BYTES);
  // SAFETY: two sigset_t and a pthread_t in this thread's scratch. The thread runs close(2) and nothing else: an int
  // travels in the register of a pointer on x86-64 and arm64, and the thread's result is not read.
  libc.pthread_sigmask(SIG_BLOCK, address, address + BigInt(OLD_SET));
  const error = libc.pthread_create(address + BigInt(THREAD), 0n, libc.close.pointer, BigInt(fd));
  libc.pthread_sigmask(SIG_SETMASK, address + BigInt(OLD_SET), 0n);
  if (error !== 0) return false;
  closing = [...closing, view.getBigUint64(THREAD, true)];
  return true;
}
