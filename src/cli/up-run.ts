// cli: serves the devices of the file of `belfry up` in one process, each on threads of its own.
import { OperatedDevice } from '../daemon/control/operated-device.ts';
import { DeviceDaemon } from '../daemon/device-daemon.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { codeOf, type Log } from '../virtio/log.ts';
import { DaemonControl } from './daemon-control.ts';
import { LogFile } from './log-file.ts';
import { count } from './quantities.ts';
import { ServiceEnd } from './serve-end.ts';
import type { ServeFlags } from './serve-flags.ts';
import { ServeReport } from './serve-report.ts';
import type { Service } from './serve-run.ts';
import type { PlannedDevice } from './up-devices.ts';

/** What the file says beside its devices. */
export type UpOptions = Pick<ServeFlags, 'control' | 'metrics' | 'log' | 'json' | 'quiet' | 'stopTimeout'>;

interface Running {
  readonly name: string;
  readonly service: Service;
  readonly daemon: DeviceDaemon;
  readonly listener: UnixListener;
}

/** Serves until SIGTERM or SIGINT; sets the exit code. Rejects where a device cannot be opened; then none is served. */
export async function runDevices(plans: readonly PlannedDevice[], options: UpOptions): Promise<void> {
  using file = options.log === undefined ? undefined : new LogFile(options.log);
  const report = new ServeReport(options, file);
  const end = new ServiceEnd(report, options.stopTimeout);
  const all: Running[] = [];
  handleSignals(report, all);
  const quit = (): void => end.begin(false);
  using control = new DaemonControl({ path: options.control, metrics: options.metrics, report, quit });
  using listeners = new DisposableStack();
  const metrics = await control.serveMetrics();
  try {
    for (const plan of plans) all.push(start(plan, report, control, listeners));
    for (const [i, running] of all.entries())
      await served(plans[i] as PlannedDevice, running, report, control, metrics);
  } catch (error) {
    await Promise.allSettled(all.map(({ daemon }) => daemon.close()));
    throw error;
  }
  const closeAll = async () => (await Promise.all(all.map(({ daemon }) => daemon.close())))[0] as never;
  end.of({ close: closeAll }, () => {});
  serviceManager.notify('READY=1');
  const ended = await Promise.all(all.map((running) => closed(running, report)));
  if (ended.includes(false)) process.exitCode = 1;
}

/** Its lines begin with its name. */
function logOf(name: string, report: ServeReport, control: DaemonControl): Log {
  return (line, about) => {
    control.take(line, about, name);
    report.log(`${name}: ${line}`, about === undefined ? undefined : { ...about, device: name });
  };
}

function start(
  { device, allowFileMemory, open }: PlannedDevice,
  report: ServeReport,
  control: DaemonControl,
  listeners: DisposableStack,
): Running {
  const { name, socket } = device;
  try {
    const service = open();
    const listener = listeners.use(UnixListener.listen(socket));
    const { threads, poll, cpus } = service;
    const log = logOf(name, report, control);
    const common = { device: service.device, listener, threads, poll, once: false, allowFileMemory, log };
    return { name, service, listener, daemon: new DeviceDaemon({ ...common, ...(cpus && { cpus }) }) };
  } catch (error) {
    throw named(name, error);
  }
}

async function served(
  { device: { name, socket } }: PlannedDevice,
  { service, daemon }: Running,
  report: ServeReport,
  control: DaemonControl,
  metrics: string | undefined,
): Promise<void> {
  const profile = await daemon.ready().catch((error: unknown) => {
    throw named(name, error);
  });
  const { threads, poll, engine, device: source } = service;
  const log = logOf(name, report, control);
  control.add(new OperatedDevice({ name, socket, source, threads, profile, daemon, log }));
  const isFirst = control.devices.length === 1;
  report.listening(
    {
      ...profile,
      ...{ threads, poll, device: name, keys: '' },
      ...(engine && { engine }),
      ...(isFirst && metrics !== undefined && { metrics }),
    },
    socket,
    false,
  );
}

/** Resolves to whether it ended in order. One that fails ends alone. */
async function closed({ name, service, daemon, listener }: Running, report: ServeReport): Promise<boolean> {
  try {
    await daemon.closed;
    await service.close?.();
    return true;
  } catch (error) {
    const line = `${name}: it is not served any more: ${(error as Error).message}`;
    report.log(line, { event: 'device-failed', ...codeOf(error), device: name });
    return false;
  } finally {
    // Its front end is to be refused, and not to wait for somebody to accept it.
    listener[Symbol.dispose]();
  }
}

function named(name: string, error: unknown): Error {
  return new Error(`${name}: ${(error as Error).message}`, { cause: error });
}

/** As those of `serve`, for all devices. */
function handleSignals(report: ServeReport, all: readonly Running[]): void {
  process.on('SIGHUP', () => {
    report.reopen();
    for (const { daemon } of all) daemon.refresh();
  });
  process.on('SIGCONT', () => {
    for (const { daemon } of all) daemon.retryHeld();
  });
  process.on('SIGUSR2', async () => {
    for (const { name, daemon } of all) {
      const queues = await daemon.report();
      report.log(`${name}: ${count(queues.length, 'queue')} run`, { event: 'started', device: name });
      report.queues(queues);
    }
  });
}
