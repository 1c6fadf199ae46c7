// cli: the listening socket of `serve`: a path, an inherited descriptor, or systemd's.

import { controlPath } from '../daemon/control/control-client.ts';
import { SOCKET_PATH_MAX, UnixListener } from '../sys/unix-socket.ts';
import type { ServeFlags } from './serve-flags.ts';
import { UsageError } from './usage-error.ts';

/** Throws UsageError. */
export function checkSocketFlags({ socket, fd, supervise, control }: ServeFlags): void {
  if (control !== undefined) checkLength('--control', control, SOCKET_PATH_MAX);
  if (socket === undefined) return;
  if (fd !== undefined) throw new UsageError('--socket and --fd exclude each other');
  if (control === socket) throw new UsageError('--control: it is another socket than --socket');
  const isLonger = supervise && control === undefined;
  checkLength('--socket', socket, SOCKET_PATH_MAX - (isLonger ? controlPath('').length : 0));
}

function checkLength(flag: string, path: string, most: number): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > most) throw new UsageError(`${flag}: a socket path has at most ${most} bytes, this one has ${bytes}`);
}

/** `--socket`, `--fd`, or the first socket that systemd passed on (sd_listen_fds(3)). Throws UsageError, SystemError. */
export function openListener({ socket, fd }: ServeFlags): UnixListener {
  if (socket !== undefined) return UnixListener.listen(socket);
  if (fd !== undefined) return UnixListener.adopt(fd);
  const SD_LISTEN_FDS_START = 3;
  if (process.env.LISTEN_PID === String(process.pid) && Number(process.env.LISTEN_FDS) >= 1)
    return UnixListener.adopt(SD_LISTEN_FDS_START);
  throw new UsageError('--socket PATH (or --fd N) is needed: virtual machines connect to it');
}
