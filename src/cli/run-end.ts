// cli: signals end `belfry run`: the first stops the machine, the second ends the process without waiting.
import type { WriteStream } from 'node:tty';
import { exitNow, killAfter } from '../sys/process-exit.ts';

interface Stoppable {
  stop(): void;
}

/** Installs handlers of SIGTERM, SIGINT and SIGHUP; returns the handler. Stopping `console` restores the terminal. */
export function endOnSignals(machine: Stoppable, console: Stoppable): () => void {
  let isStopping = false;
  const stop = (): void => {
    // The first signal closes the devices in order; a second does not wait for them.
    if (isStopping) endNow(console);
    isStopping = true;
    machine.stop();
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
  return stop;
}

function endNow(console: Stoppable): never {
  // Restoring the terminal may block for ever.
  killAfter(1);
  console.stop();
  exitNow(1);
}

/**
 * Makes writes to a terminal nonblocking. Node's are blocking: a terminal that is not read, such as a hung ssh, would
 * keep this thread in write(2), where it handles no signal. Node then buffers what does not fit, as it does for a pipe.
 */
export function neverBlock(stream: WriteStream): void {
  const { _handle: handle } = stream as WriteStream & {
    readonly _handle?: { setBlocking?(isBlocking: boolean): void };
  };
  if (stream.isTTY) handle?.setBlocking?.(false);
}
