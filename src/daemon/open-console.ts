// Upper floor: a console on its thread. Its other end is a socket to the main thread, which has the terminal, the pipes or the clients.
import { Socket } from 'node:net';
import { ConsoleDevice, type ConsoleSize } from '../devices/console/console-device.ts';
import { duplicateFd } from '../sys/libc.ts';
import type { OpenDevice } from './open-device.ts';

/** A console as a plain value. */
export interface ConsolePort {
  readonly kind: 'console';
  /** What it is called for people. */
  readonly name: string;
  /** A connected stream socket, of which the device takes a duplicate: the guest's input, its output, and the end of that. */
  readonly fd: number;
  /** Shared: columns and rows of the window, read again by `refresh`. Absent where there is no window. */
  readonly window?: Uint16Array<SharedArrayBuffer>;
}

/** The device; its thread has to give Node's loop a turn. */
export function openConsole({ name, fd, window }: ConsolePort): OpenDevice {
  const socket = new Socket({ fd: duplicateFd(fd) });
  const size = (): ConsoleSize => ({ cols: window?.[0] ?? 0, rows: window?.[1] ?? 0 });
  const device = new ConsoleDevice({
    // Not destroyed by the device when it has read: it is the output as well.
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
      // Behind the last words.
      await new Promise<void>((resolve) => socket.end(resolve));
    },
  };
}
