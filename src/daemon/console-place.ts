// daemon: where a port of a served console leads, as a plain value, and how the device's thread opens it.
import { write } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import type { PortEnd } from '../devices/console/port-options.ts';
import type { ConsoleEnd } from '../ports/console-end.ts';
import { ListenerStream } from '../ports/listener-stream.ts';
import { PtyStream } from '../ports/pty-stream.ts';
import { closeFd, duplicateFd } from '../sys/libc.ts';
import { PseudoTerminal } from '../sys/pseudo-terminal.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import type { Log } from '../virtio/log.ts';

/**
 * Where a port leads. The main thread opened `fd`, which the device's thread duplicates. `line`: a connected stream
 * socket, whose other end the main thread connects with this terminal or with pipes.
 */
export type ConsolePlace =
  | { readonly kind: 'line'; readonly fd: number }
  | { readonly kind: 'file'; readonly fd: number }
  | { readonly kind: 'pty' | 'unix'; readonly fd: number; readonly path: string };

/** A place on its thread. */
export interface OpenPlace {
  readonly end: PortEnd;
  /** Present where programs come and go. */
  readonly visits?: ConsoleEnd;
  bytes(): { readonly read: number; readonly written: number };
  /** After the device was closed. */
  close(): Promise<void>;
}

/** Opens a place. Its thread has to run Node's loop. */
export function openPlace(place: ConsolePlace, log: Log): OpenPlace {
  if (place.kind === 'line') return line(place.fd);
  if (place.kind === 'file') return file(place.fd);
  const { fd, path } = place;
  const stream =
    place.kind === 'pty'
      ? new PtyStream(PseudoTerminal.adopt(duplicateFd(fd), path))
      : new ListenerStream({
          socket: UnixListener.adopt(duplicateFd(fd)),
          onRefused: () => log(`${path}: a second client was refused`, { event: 'refused' }),
        });
  return {
    end: { stream },
    visits: stream,
    bytes: () => ({ read: stream.bytesRead, written: stream.bytesWritten }),
    close: async () => {},
  };
}

function line(fd: number): OpenPlace {
  const socket = new Socket({ fd: duplicateFd(fd) });
  return {
    // Not destroyed at the end of the input: the socket is the output as well.
    end: {
      input: { [Symbol.asyncIterator]: () => socket.iterator({ destroyOnReturn: false }) },
      output: socket,
    },
    bytes: () => ({ read: socket.bytesRead, written: socket.bytesWritten }),
    // After the guest's last output.
    close: () => new Promise<void>((resolve) => void socket.end(resolve)),
  };
}

/** A file that cannot be written loses those bytes, and the next ones are tried again. */
function file(fd: number): OpenPlace {
  const own = duplicateFd(fd);
  const writeSome = promisify(write);
  let written = 0;
  return {
    end: {
      async output(bytes) {
        for (let at = 0; at < bytes.length; ) {
          const { bytesWritten } = await writeSome(own, bytes, at);
          at += bytesWritten;
          written += bytesWritten;
        }
      },
    },
    bytes: () => ({ read: 0, written }),
    close: async () => closeFd(own),
  };
}
