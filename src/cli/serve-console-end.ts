// cli: the interface of a served console's other end, and how the guest's output gets there.
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { ServedDevice } from '../daemon/served-device.ts';

export interface ConsoleEnd extends Disposable {
  /** As log lines name it. */
  readonly name: string;
  /** The size of the terminal, columns and rows, as in `ConsolePort`. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
  /** The keys that end it, as a sentence. Absent: Ctrl-C. */
  readonly keys?: string;
  /** Called when the console is served: reads input from now on, until disposed of, which may happen more than once. */
  start(device: ServedDevice): void;
}

/** Passes the guest's output to `to()`, no faster than it drains. Drops it where `to()` is undefined or destroyed. */
export function passOn(line: Socket, to: () => Writable | undefined): void {
  line.on('data', (bytes) => {
    const target = to();
    if (target === undefined || target.destroyed || target.write(bytes)) return;
    line.pause();
    const events = ['drain', 'close', 'error'];
    const goOn = (): void => {
      for (const event of events) target.off(event, goOn);
      line.resume();
    };
    for (const event of events) target.on(event, goOn);
  });
}
