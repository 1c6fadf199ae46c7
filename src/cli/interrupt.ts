// Upper floor: Ctrl-C and its like, and a pipe nobody reads any more, for commands that clean up before they end.
import { constants } from 'node:os';

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
