// cli: runs a served device: its socket, its signals, its log, and its end.
import { DeviceDaemon } from '../daemon/device-daemon.ts';
import type { DeviceSource } from '../daemon/device-source.ts';
import type { PollMode } from '../daemon/poll-mode.ts';
import type { ServedDevice } from '../daemon/served-device.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { SOCKET_PATH_MAX, UnixListener } from '../sys/unix-socket.ts';
import type { Log } from '../virtio/log.ts';
import { LogFile } from './log-file.ts';
import { ServiceEnd } from './serve-end.ts';
import type { ServeFlags } from './serve-flags.ts';
import { ServeReport } from './serve-report.ts';
import { asUsage, UsageError } from './usage-error.ts';

/** What is to be served, and how. */
export interface Service {
  readonly device: DeviceSource;
  readonly threads: number;
  readonly poll: PollMode;
  readonly cpus?: readonly number[];
  /** Images only: what accesses it, and why. */
  readonly engine?: { readonly name: string; readonly why: string };
  /** The keys that end it, as a sentence. Absent: Ctrl-C. */
  readonly keys?: string;
  /** Called when the device is served. */
  started?(device: ServedDevice): void;
  /** Called after the device has closed in order: closes what the main thread opened for it. */
  close?(): void | Promise<void>;
  /** Restores what was taken over, such as the terminal. Called at once, however it ends, perhaps more than once. */
  restore?(): void;
}

/** The user's flags, and one that depends on the device. */
export interface ServiceFlags extends ServeFlags {
  /** Standard output is the device's: lines go to standard error. */
  readonly toStderr?: boolean;
}

/** Serves until SIGTERM or SIGINT. `make` opens the device. Throws UsageError, and what `make` throws. */
export async function runService(flags: ServiceFlags, make: (log: Log) => Service): Promise<void> {
  checkFlags(flags);
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file);
  // Signal handlers come before the socket: a signal without a handler would leave the socket file behind.
  const end = new ServiceEnd(report, flags.stopTimeout);
  let device: ServedDevice | undefined;
  process.on('SIGHUP', () => {
    report.reopen();
    device?.refresh();
  });
  process.on('SIGCONT', () => device?.retryHeld());
  process.on('SIGUSR2', async () => report.queues((await device?.report()) ?? []));
  const service = make(report.log);
  using _restored = { [Symbol.dispose]: () => service.restore?.() };
  using listener = openListener(flags);
  device = start(service, listener, flags, report);
  end.of(device, () => service.restore?.());
  const profile = await device.ready().catch((error: unknown) => {
    throw asUsage(error);
  });
  const { threads, poll, engine, keys } = service;
  // Before `listening` is printed: input may come as soon as that is read.
  service.started?.(device);
  report.listening({ ...profile, threads, poll, ...(engine && { engine }), ...(keys && { keys }) }, flags.socket);
  report.follow(device);
  serviceManager.notify('READY=1');
  const last = await device.closed;
  await service.close?.();
  service.restore?.();
  report.closed(last, device);
}

function start(
  { device, threads, poll, cpus }: Service,
  listener: UnixListener,
  flags: ServeFlags,
  { log }: ServeReport,
) {
  return new DeviceDaemon({
    ...{ device, listener, threads, poll, once: flags.once, log },
    ...(cpus && { cpus }),
    allowFileMemory: flags.allowFileMemory,
    processGraceSeconds: flags.stopTimeout,
  });
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
  throw new UsageError('--socket PATH (or --fd N) is needed: virtual machines connect to it');
}
