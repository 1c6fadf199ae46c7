// cli: runs a served device: its socket, its signals, its log, and its end.
import { setTimeout as sleep } from 'node:timers/promises';
import type { MethodName } from '../daemon/control/methods.ts';
import { OperatedDevice } from '../daemon/control/operated-device.ts';
import { DeviceDaemon } from '../daemon/device-daemon.ts';
import type { DeviceSource } from '../daemon/device-source.ts';
import type { DeviceProfile } from '../daemon/open-device.ts';
import type { PollMode } from '../daemon/poll-mode.ts';
import type { RehearsalPlan } from '../daemon/rehearsal-plan.ts';
import type { ServedDevice } from '../daemon/served-device.ts';
import { SpareThreads } from '../daemon/spare-threads.ts';
import { type LinkEvents, SupervisorLink } from '../daemon/supervisor-link.ts';
import { serviceManager } from '../sys/service-manager.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { codeOf, type Log } from '../virtio/log.ts';
import { DaemonControl, nameOf } from './daemon-control.ts';
import { LogFile } from './log-file.ts';
import { count } from './quantities.ts';
import { ServiceEnd } from './serve-end.ts';
import type { ServeFlags } from './serve-flags.ts';
import { checkSocketFlags, openListener } from './serve-listener.ts';
import { type Served, ServeReport } from './serve-report.ts';
import { superviseService } from './serve-supervised.ts';
import { asUsage } from './usage-error.ts';
import { belfryVersion } from './version.ts';

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
  /** Consoles only: where its ports lead. */
  readonly ports?: Served['ports'];
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
  /** As in `Service`; default 1. */
  readonly threads?: number;
  /** What a process that stands by rehearses. Default: nothing. */
  readonly rehearsal?: () => RehearsalPlan | undefined;
}

/** How long the image of a process that has just ended may stay locked, and how often it is tried. */
const UNLOCK_MS = 2000;
const LOOK_MS = 2;
/** How long the process before may keep the port of the metrics. */
const PORT_MS = 10_000;

/** Serves until SIGTERM or SIGINT. `make` opens the device. Throws UsageError, and what `make` throws. */
export async function runService(flags: ServiceFlags, make: (log: Log) => Service): Promise<void> {
  checkSocketFlags(flags);
  const link = flags.supervise ? SupervisorLink.ofThisProcess() : undefined;
  if (flags.supervise && link === undefined) return superviseService(flags);
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file, link && ((line) => link.status(line)));
  // Signal handlers come before the socket: a signal without a handler would leave the socket file behind.
  const end = new ServiceEnd(report, flags.stopTimeout);
  let device: ServedDevice | undefined;
  let control: DaemonControl | undefined;
  process.on('SIGHUP', () => {
    report.reopen();
    device?.refresh();
  });
  process.on('SIGCONT', () => device?.retryHeld());
  process.on('SIGUSR2', async () => report.queues((await device?.report()) ?? []));
  const spares = await ownTurn(link, end, flags, {
    heldUnrecorded: async () => (await device?.heldUnrecorded()) ?? 0,
    call: (method, params) => control?.handle(method as MethodName, params),
  });
  const service = link === undefined ? make(report.log) : await makeInTurn(() => make(report.log));
  using _restored = { [Symbol.dispose]: () => service.restore?.() };
  using listener = link === undefined ? openListener(flags) : UnixListener.adopt(link.listenFd);
  using own = openControl(flags, report, end, link);
  control = own;
  const name = nameOf(flags.socket, service.device.kind);
  report.onLine = (line, about) => own.take(line, about, name);
  const metrics = link === undefined ? await own.serveMetrics() : undefined;
  const daemon = start(service, listener, flags, report, spares, own);
  device = daemon;
  end.of(device, () => service.restore?.());
  const profile = await device.ready().catch((error: unknown) => {
    throw asUsage(error);
  });
  const { device: source, threads } = service;
  own.add(new OperatedDevice({ name, socket: flags.socket, source, threads, profile, daemon, log: report.log }));
  // Before `listening` is printed: input may come as soon as that is read.
  service.started?.(device);
  const served = describe(service, profile, metrics);
  if (link === undefined) report.listening(served, flags.socket);
  else {
    link.ready(served);
    // The process before may still have the port. The guest does not wait for that.
    void own.serveMetrics(PORT_MS).catch((error: Error) => report.log(error.message));
  }
  report.follow(device);
  serviceManager.notify('READY=1');
  const last = await device.closed;
  await service.close?.();
  link?.released();
  service.restore?.();
  report.closed(last, device);
}

function describe(
  { threads, poll, engine, keys, ports }: Service,
  profile: DeviceProfile,
  metrics: string | undefined,
): Served {
  const chosen = { ...(engine && { engine }), ...(keys && { keys }), ...(ports && { ports }) };
  return { ...profile, threads, poll, ...chosen, ...(metrics && { metrics }) };
}

/** Under a supervisor, which has the socket, there is none here. */
function openControl(
  { control: path, metrics }: ServeFlags,
  report: ServeReport,
  end: ServiceEnd,
  link: SupervisorLink | undefined,
): DaemonControl {
  const quit = (): void => end.begin(false);
  if (link === undefined) return new DaemonControl({ path, metrics, report, quit });
  return new DaemonControl({ path: undefined, metrics, report, quit, onEvent: (event) => link.event(event) });
}

/** Under a supervisor: waits, with everything loaded, until this process is to serve. */
async function ownTurn(
  link: SupervisorLink | undefined,
  end: ServiceEnd,
  { threads = 1, rehearsal }: ServiceFlags,
  of: { heldUnrecorded(): Promise<number>; call: LinkEvents['onCall'] },
): Promise<SpareThreads | undefined> {
  if (link === undefined) return undefined;
  const spares = new SpareThreads(threads, rehearsal?.());
  void link.itsTurn.then(() => spares.hurry());
  const rehearsed = await spares.loaded();
  await link.turn(belfryVersion(), rehearsed, {
    objection: async () => objectionTo(await of.heldUnrecorded()),
    onStop: (isPassedOn) => end.begin(isPassedOn),
    onGiveUp: () => end.giveUp(),
    onCall: of.call,
  });
  return spares;
}

/** Why another process cannot go on while `held` requests are held that it would not know of. */
function objectionTo(held: number): string | undefined {
  if (held === 0) return undefined;
  const what = `${count(held, 'request')} held after an error of the store would be lost`;
  return `${what}: this front end keeps no record of requests in flight; put the disk right, send SIGCONT, and upgrade then`;
}

/** The kernel may unlock an image only some time after the end of the process before (io_uring): waits for that. */
async function makeInTurn(make: () => Service): Promise<Service> {
  const startedMs = performance.now();
  for (;;) {
    try {
      return make();
    } catch (error) {
      if (codeOf(error).code !== 'EAGAIN' || performance.now() - startedMs > UNLOCK_MS) throw error;
    }
    await sleep(LOOK_MS);
  }
}

function start(
  { device, threads, poll, cpus }: Service,
  listener: UnixListener,
  flags: ServeFlags,
  { log }: ServeReport,
  spares: SpareThreads | undefined,
  control: DaemonControl,
): DeviceDaemon {
  return new DeviceDaemon({
    ...{ device, listener, threads, poll, once: flags.once, log },
    ...(cpus && { cpus }),
    ...(spares && { spares }),
    allowFileMemory: flags.allowFileMemory,
    processGraceSeconds: flags.stopTimeout,
    otherSockets: control.files,
  });
}
