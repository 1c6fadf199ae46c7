// sys: ends this process, whatever its threads do. _exit(2), alarm(2), signal(2).
import { constants as os } from 'node:os';
import { SIG_DFL } from './constants.ts';
import { libc } from './libc.ts';

/**
 * Ends the process at once: no exit handler runs, no output is flushed, and it waits for no thread (`process.exit`
 * waits for worker threads). A thread in an uninterruptible sleep (state D) still delays the exit until that sleep
 * ends.
 */
export function exitNow(code: number): never {
  // SAFETY: takes a number and does not return.
  libc._exit(code);
  throw new Error('_exit returned');
}

/**
 * Has the kernel end the process in `seconds` (a whole number), whatever its threads do: by SIGALRM, or with exit code
 * 14 in the first process of a container. 0 cancels it. It replaces any listener for SIGALRM. A thread in state D
 * delays the exit, as in `exitNow`.
 */
export function killAfter(seconds: number): void {
  // The kernel does not kill the first process of a PID namespace by a default action: there _exit is the handler.
  // SAFETY: _exit takes an int, here the number of the signal, and may be called in a handler (signal-safety(7)).
  libc.signal(os.signals.SIGALRM, process.pid === 1 ? libc._exit.pointer : SIG_DFL);
  libc.alarm(seconds);
}
