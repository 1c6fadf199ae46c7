// daemon: opens a console on its thread. A socket connects it to the main thread, which has the terminal, the
// pipes or the clients.
import { Socket } from 'node:net';
import { ConsoleDevice } from '../devices/console/console-device.ts';
import type { ConsoleSize } from '../devices/console/console-size.ts';
import { duplicateFd } from '../sys/libc.ts';
import type { OpenDevice } from './open-device.ts';

/** A console as a plain value. */
export interface ConsolePort {
  readonly kind: 'console';
  /** Its name in the log. */
  readonly name: string;
  /**
   * A connected stream socket, which the device duplicates. Carries the guest's input, its output, and the end of the
   * output.
   */
  readonly fd: number;
  /** Shared memory: columns and rows of the window, read again by `refresh`. Absent without a window. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
}

/** Opens the console. Its thread has to run Node's loop. */
export function openConsole({ name, fd, window }: ConsolePort): OpenDevice {
  const socket = new Socket({ fd: duplicateFd(fd) });
  const size = (): ConsoleSize => ({ cols: window?.[0] ?? 0, rows: window?.[1] ?? 0 });
  const device = new ConsoleDevice({
    // Not destroyed at the end of the input: the socket is the output as well.
    input: { [Symbol.asyncIterator]: () => socket.iterator({ destroyOnReturn: false }) },
    output: socket,
    ...(window && { size: size() }),
  });
  return {
    device,
    profile: { name, type: device.type, queues: device.queueSizes.length },
    bytes: () => ({ read: socket.bytesRead, written: socket.bytesWritten }),
    refresh: () => {
      if (window !== undefined) device.resize(size());
      return undefined;
    },
    close: async () => {
      await device.close();
      // After the guest's last output.
      await new Promise<void>((resolve) => socket.end(resolve));
    },
  };
}
