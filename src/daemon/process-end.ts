// Upper floor: who ends the process after SIGTERM: the main thread, which has a last line to print, or, while that is busy, the device's.
import { unlinkSync } from 'node:fs';
import { threadCpuNs } from '../sys/cpu.ts';
import { libc } from '../sys/libc.ts';

/** What both threads need to agree. */
export interface ProcessEnd {
  /** Shared: who has it. */
  readonly word: Int32Array<SharedArrayBuffer>;
  readonly mainThread: number;
  /** The socket's file, if it is ours to remove. */
  readonly socket: string | undefined;
}

const NOBODY = 0;
const MAIN_THREAD = 1;
const DEVICE_THREAD = 2;

const LOOK_MS = 2;
/** Processor time that a main thread with nothing else to do needs by far not before it hears of it. */
const BUSY_NS = 20e6;
/** A main thread that uses no processor either waits for somebody: for a reader of its output that does not read, say. */
const STUCK_MS = 5000;

export function newProcessEnd(socket: string | undefined): ProcessEnd {
  return { word: new Int32Array(new SharedArrayBuffer(4)), mainThread: process.pid, socket };
}

/** For the main thread, when it hears that the device is to close, or has. False: too late, the process is ending. */
export function takeProcessEnd({ word }: ProcessEnd): boolean {
  const before = Atomics.compareExchange(word, 0, NOBODY, MAIN_THREAD);
  Atomics.notify(word, 0);
  return before !== DEVICE_THREAD;
}

/** For the device's thread: how much the main thread has worked up to now. */
export function mainThreadNs({ mainThread }: ProcessEnd): number {
  return threadCpuNs(mainThread);
}

/**
 * For the device's thread, when everything is closed: leaves the end to the main thread, unless that is busy with something else, and has
 * been since it had worked for `toldAtNs`.
 */
export function leaveProcessEnd({ word, mainThread, socket }: ProcessEnd, toldAtNs = threadCpuNs(mainThread)): void {
  const startedMs = performance.now();
  while (threadCpuNs(mainThread) - toldAtNs < BUSY_NS && performance.now() - startedMs < STUCK_MS) {
    if (Atomics.wait(word, 0, NOBODY, LOOK_MS) !== 'timed-out') return;
  }
  if (Atomics.compareExchange(word, 0, NOBODY, DEVICE_THREAD) !== NOBODY) return;
  try {
    if (socket !== undefined) unlinkSync(socket);
  } catch {
    // Gone already.
  }
  // SAFETY: it does not return, and runs nothing of anybody's: what had to be closed is.
  libc._exit(0);
}
