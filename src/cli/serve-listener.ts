// cli: the listening socket of `serve`: a path, an inherited descriptor, or systemd's.
import { SOCKET_PATH_MAX, UnixListener } from '../sys/unix-socket.ts';
import { controlPath } from './control-socket.ts';
import type { ServeFlags } from './serve-flags.ts';
import { UsageError } from './usage-error.ts';

/** Throws UsageError. */
export function checkSocketFlags({ socket, fd, supervise }: ServeFlags): void {
  if (socket === undefined) return;
  if (fd !== undefined) throw new UsageError('--socket and --fd exclude each other');
  const bytes = Buffer.byteLength(socket);
  const most = SOCKET_PATH_MAX - (supervise ? controlPath('').length : 0);
  if (bytes > most) throw new UsageError(`--socket: a socket path has at most ${most} bytes, this one has ${bytes}`);
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
