// Upper floor: how `belfry run` is ended from outside: a signal ends the machine, a second one the process, whatever either waits for.
import type { WriteStream } from 'node:tty';
import { exitNow, killAfter } from '../sys/process-exit.ts';

interface Stoppable {
  stop(): void;
}

/** Listens to SIGTERM, SIGINT and SIGHUP from now on; returns what they do. `console` gives the terminal back. */
export function endOnSignals(machine: Stoppable, console: Stoppable): () => void {
  let isStopping = false;
  const stop = (): void => {
    // Devices are closed in order; who asks twice does not want to wait for them.
    if (isStopping) endNow(console);
    isStopping = true;
    machine.stop();
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);
  return stop;
}

function endNow(console: Stoppable): never {
  // A terminal may take for ever to be given back.
  killAfter(1);
  console.stop();
  exitNow(1);
}

/**
 * Node writes to a terminal until it is written: one that nobody reads, a hung ssh say, would keep this thread in write(2), where it hears
 * of no signal. From now on what does not fit waits, as it does for a pipe.
 */
export function neverBlock(stream: WriteStream): void {
  const { _handle: handle } = stream as WriteStream & {
    readonly _handle?: { setBlocking?(isBlocking: boolean): void };
  };
  if (stream.isTTY) handle?.setBlocking?.(false);
}
