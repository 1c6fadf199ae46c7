// cli: `serve console`: a console whose other end is this terminal, a pair of pipes, or a client of a socket.
import { once } from 'node:events';
import { Socket } from 'node:net';
import { UnixSocket } from '../sys/unix-socket.ts';
import { ConsoleClients } from './serve-console-clients.ts';
import type { ConsoleEnd } from './serve-console-end.ts';
import { ConsoleStreams } from './serve-console-streams.ts';
import type { ConsoleFlags } from './serve-flags.ts';
import { runService } from './serve-run.ts';
import { UsageError } from './usage-error.ts';

export async function serveConsole(flags: ConsoleFlags): Promise<void> {
  const { listen } = flags;
  if (flags.supervise && listen === undefined)
    throw new UsageError('--supervise: a console on this terminal ends with its process; --listen PATH has clients');
  // Standard output has the guest's output only: log lines go to standard error.
  await runService({ ...flags, toStderr: listen === undefined }, (log) => {
    const [near, far] = UnixSocket.pair();
    const line = new Socket({ fd: near.fd }).on('error', () => {});
    const end = listen === undefined ? new ConsoleStreams(line) : new ConsoleClients(line, listen, log);
    const { name, window, keys }: ConsoleEnd = end;
    return {
      device: { kind: 'console', name, fd: far.fd, ...(window && { window }) },
      threads: 1,
      poll: 'off',
      ...(keys && { keys }),
      started: (device) => end.start(device),
      async close() {
        // The guest's last output may not have been passed on yet.
        if (!line.readableEnded) await once(line, 'end');
      },
      restore: () => end[Symbol.dispose](),
    };
  });
}
