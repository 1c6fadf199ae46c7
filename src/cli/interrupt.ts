// cli: SIGINT, SIGTERM, SIGHUP and EPIPE, for commands that clean up before they end.
import { constants } from 'node:os';

/** The exit code when the reader of standard output is gone. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/** Returns a signal that the first SIGINT, SIGTERM, SIGHUP or EPIPE aborts. A second one ends the process. */
export function interruptSignal(): AbortSignal {
  const stop = new AbortController();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const end = (signal: NodeJS.Signals): void => {
    process.exitCode = 128 + constants.signals[signal];
    stop.abort();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    for (const other of signals) process.off(other, onSignal);
    end(signal);
  };
  process.stdout.once('error', () => end('SIGPIPE'));
  for (const signal of signals) process.on(signal, onSignal);
  return stop.signal;
}

/** Logs at once that `signal` was aborted, for work that takes a moment to stop. */
export function logStopping(signal: AbortSignal): void {
  signal.addEventListener('abort', () => {
    if (process.exitCode !== BROKEN_PIPE) console.error('belfry: stopping; Ctrl-C again ends it at once');
  });
}

/** Logs that the command was interrupted, and what is left of it. Logs nothing where standard output has no reader. */
export function logInterrupted(whatIsLeft: string): void {
  if (process.exitCode !== BROKEN_PIPE) console.error(`belfry: interrupted; ${whatIsLeft}`);
}
