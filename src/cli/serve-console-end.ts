// Upper floor: where a served console leads, and how what the guest writes gets there.
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { ServedDevice } from '../daemon/served-device.ts';

export interface ConsoleEnd extends Disposable {
  /** For people. */
  readonly name: string;
  /** As `ConsolePort` has it. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
  /** How a person ends it. Absent: Ctrl-C. */
  readonly keys?: string;
  /** The console is served: input is taken from now on, until it is disposed of, which may be done more than once. */
  start(device: ServedDevice): void;
}

/** Passes on what the guest writes, as fast as it is taken; where there is nobody, or nobody any more, it is dropped. */
export function passOn(line: Socket, to: () => Writable | undefined): void {
  line.on('data', (bytes) => {
    const taker = to();
    if (taker === undefined || taker.destroyed || taker.write(bytes)) return;
    line.pause();
    const events = ['drain', 'close', 'error'];
    const goOn = (): void => {
      for (const event of events) taker.off(event, goOn);
      line.resume();
    };
    for (const event of events) taker.on(event, goOn);
  });
}
