// Upper floor: the life of a served device: its socket, its signals, what is said of it, and its end.

import type { ServedDevice } from '../daemon/served-device.ts';
import { SOCKET_PATH_MAX, UnixListener } from '../sys/unix-socket.ts';
import type { Log } from '../virtio/log.ts';
import { LogFile } from './log-file.ts';
import type { ServeFlags } from './serve.ts';
import { type Served, ServeReport } from './serve-report.ts';
import { UsageError } from './usage-error.ts';

/** What a device is started with. */
export interface Telling {
  readonly log: Log;
  readonly tell: (line: string) => void;
  readonly once: boolean;
}

/** A device that can be started once there is a socket. */
export interface Making extends Served {
  start(listener: UnixListener, telling: Telling): ServedDevice;
  close?(): void | Promise<void>;
}

/** Makes a device and serves it until it is told to stop. */
export async function runService(flags: ServeFlags, make: (report: ServeReport) => Promise<Making>): Promise<void> {
  checkFlags(flags);
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file);
  // Before there is a socket: whatever stopped it now would leave that behind.
  let started: ServedDevice | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => started?.stop());
  process.on('SIGHUP', () => {
    report.reopen();
    started?.refresh();
  });
  // Node would open its inspector, for every user of this machine.
  process.on('SIGUSR1', () => {});
  const making = await make(report);
  using listener = openListener(flags);
  const { log, tell } = report;
  const device = making.start(listener, { log, tell, once: flags.once });
  started = device;
  process.on('SIGUSR2', async () => report.queues(await device.report()));
  await device.ready();
  report.listening(making, flags.socket);
  report.follow(device);
  report.closed(await device.closed, device);
  await making.close?.();
}

function checkFlags({ socket, fd }: ServeFlags): void {
  if (socket !== undefined && fd !== undefined) throw new UsageError('--socket and --fd exclude each other');
  if (socket !== undefined && Buffer.byteLength(socket) > SOCKET_PATH_MAX) {
    throw new UsageError(
      `--socket: a socket path has at most ${SOCKET_PATH_MAX} bytes, this one has ${Buffer.byteLength(socket)}`,
    );
  }
}

/** `--socket`, `--fd`, or the first socket that systemd passed on (sd_listen_fds(3)). */
function openListener({ socket, fd }: ServeFlags): UnixListener {
  if (socket !== undefined) return UnixListener.listen(socket);
  if (fd !== undefined) return UnixListener.adopt(fd);
  const SD_LISTEN_FDS_START = 3;
  if (process.env.LISTEN_PID === String(process.pid) && Number(process.env.LISTEN_FDS) >= 1)
    return UnixListener.adopt(SD_LISTEN_FDS_START);
  throw new UsageError('--socket PATH (or --fd N) says where virtual machines find the device');
}
