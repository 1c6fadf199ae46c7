// Upper floor: the life of a served device: its socket, its signals, what is said of it, and its end.
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
  /** How a person ends it, where that is not Ctrl-C. */
  readonly keys?: string;
  /** It is served, and told so. */
  started?(device: ServedDevice): void;
  /** It has ended as it should: closes what the main thread had to open for it. */
  close?(): void | Promise<void>;
  /** At once and however it ends, more than once perhaps: what was taken from others, such as the terminal. */
  giveBack?(): void;
}

/** Of which those of a person are a part. */
export interface ServiceFlags extends ServeFlags {
  /** Standard output is the device's. */
  readonly toStderr?: boolean;
}

/** Serves until it is told to stop. */
export async function runService(flags: ServiceFlags, make: (log: Log) => Service): Promise<void> {
  checkFlags(flags);
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file);
  // Before there is a socket: whatever stopped it now would leave that behind.
  const end = new ServiceEnd(report, flags.stopTimeout);
  let device: ServedDevice | undefined;
  process.on('SIGHUP', () => {
    report.reopen();
    device?.refresh();
  });
  process.on('SIGUSR2', async () => report.queues((await device?.report()) ?? []));
  const service = make(report.log);
  using _given = { [Symbol.dispose]: () => service.giveBack?.() };
  using listener = openListener(flags);
  device = start(service, listener, flags, report);
  end.of(device, () => service.giveBack?.());
  const profile = await device.ready().catch((error: unknown) => {
    throw asUsage(error);
  });
  const { threads, poll, keys } = service;
  // First: whoever reads that it serves may type.
  service.started?.(device);
  report.listening({ ...profile, threads, poll, ...(keys && { keys }) }, flags.socket);
  report.follow(device);
  serviceManager.notify('READY=1');
  const last = await device.closed;
  await service.close?.();
  service.giveBack?.();
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
  throw new UsageError('--socket PATH (or --fd N) says where virtual machines find the device');
}
