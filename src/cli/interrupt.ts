// Upper floor: Ctrl-C and its like, and a pipe nobody reads any more, for commands that clean up before they end.
import { constants } from 'node:os';

/** The exit code where nobody reads any more. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/** Aborted by the first SIGINT, SIGTERM, SIGHUP or EPIPE, which sets the exit code; a second one ends the process. */
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

/** Says at once that a signal was heard, for work that takes a moment to stop. */
export function sayStopping(signal: AbortSignal): void {
  signal.addEventListener('abort', () => {
    if (process.exitCode !== BROKEN_PIPE) console.error('belfry: stopping; Ctrl-C again ends it at once');
  });
}

/** What was interrupted, and what is left of it; nothing where nobody reads. */
export function sayInterrupted(whatIsLeft: string): void {
  if (process.exitCode !== BROKEN_PIPE) console.error(`belfry: interrupted; ${whatIsLeft}`);
}
