// cli: `serve --supervise`: keeps the socket, and has device processes serve it, one after the other.
import { isatty } from 'node:tty';
import { controlPath } from '../daemon/control/control-client.ts';
import { ControlServer } from '../daemon/control/control-server.ts';
import type { ControlHandler } from '../daemon/control/control-session.ts';
import { type ControlEvent, LEVELS, PROTOCOL_VERSION } from '../daemon/control/methods.ts';
import { DeviceProcess } from '../daemon/device-process.ts';
import { Supervisor } from '../daemon/supervisor.ts';
import { serviceManager } from '../sys/service-manager.ts';
import type { Log } from '../virtio/log.ts';
import { eventOf } from './daemon-control.ts';
import { LogFile } from './log-file.ts';
import type { ServeFlags } from './serve-flags.ts';
import { openListener } from './serve-listener.ts';
import { type Served, ServeReport } from './serve-report.ts';
import { belfryVersion } from './version.ts';

/** A process that has not ended so long after --stop-timeout is killed. */
const LAST_SECONDS = 10;
const STDIN = 0;

/** Serves until SIGTERM or SIGINT, or until a device process ends in order; sets the exit code. */
export async function superviseService(flags: ServeFlags): Promise<void> {
  using file = flags.log === undefined ? undefined : new LogFile(flags.log);
  const report = new ServeReport(flags, file);
  let supervisor: Supervisor | undefined;
  // Signal handlers come before the socket: a signal without a handler would leave the socket file behind.
  handleSignals(report, () => supervisor);
  using listener = openListener(flags);
  const handle = handlerOf(report, () => supervisor);
  using control = openControl(flags, handle);
  report.onLine = (line, about) => control?.publish(eventOf(line, about));
  supervisor = new Supervisor({
    start: () =>
      new DeviceProcess({
        command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
        listenFd: listener.fd,
        onErrorLine: (line) => report.passOn(line),
        onEvent: (event) => control?.publish(event as ControlEvent),
        onStatus: (line) => serviceManager.notify(`STATUS=${line}`),
      }),
    log: report.log,
    onReady: (served, devicePid) => {
      report.listening({ ...(served as Served), devicePid }, flags.socket);
      serviceManager.notify('READY=1');
    },
    endMs: (flags.stopTimeout + LAST_SECONDS) * 1000,
  });
  process.exitCode = await supervisor.run();
}

/** The control socket: that of --control, or one beside --socket. */
function openControl({ control, socket }: ServeFlags, handle: ControlHandler): ControlServer | undefined {
  const path = control ?? (socket === undefined ? undefined : controlPath(socket));
  return path === undefined ? undefined : new ControlServer(path, handle);
}

/** Does what concerns the supervisor itself; the rest is for the process that serves. */
function handlerOf(report: ServeReport, supervisorNow: () => Supervisor | undefined): ControlHandler {
  return (method, params) => {
    if (method === 'version') return { belfry: belfryVersion(), protocol: PROTOCOL_VERSION, pid: process.pid };
    if (method === 'upgrade') return upgrade(supervisorNow(), report.log).then((version) => ({ version }));
    if (method === 'quit') return void setImmediate(() => stop(supervisorNow()));
    const { level } = params as { readonly level?: ServeReport['level'] };
    if (method === 'log-level' && level !== undefined && LEVELS.includes(level)) report.level = level;
    return supervisorNow()?.call(method, params);
  };
}

/** Resolves to the version that serves. Rejects with why the one before goes on. */
async function upgrade(supervisor: Supervisor | undefined, log: Log): Promise<string> {
  if (supervisor === undefined) throw new Error('nothing serves yet');
  const version = await supervisor.upgrade();
  log(`upgraded: Belfry ${version} serves`, { event: 'upgraded', version });
  return version;
}

function stop(supervisor: Supervisor | undefined): void {
  // Nothing serves yet, and no process waits for this one.
  if (supervisor === undefined) process.exit(0);
  serviceManager.notify('STOPPING=1');
  supervisor.stop();
}

function handleSignals(report: ServeReport, supervisorNow: () => Supervisor | undefined): void {
  const isOnTerminal = isatty(STDIN);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop(supervisorNow()));
  process.on('SIGHUP', () => {
    if (isOnTerminal && !isatty(STDIN)) return stop(supervisorNow()); // its terminal was closed
    report.reopen();
    supervisorNow()?.signal('SIGHUP');
  });
  for (const signal of ['SIGCONT', 'SIGUSR2'] as const) process.on(signal, () => supervisorNow()?.signal(signal));
  process.on('SIGUSR1', () => void upgrade(supervisorNow(), report.log).catch(() => {})); // it is logged
}
