// cli: `serve --supervise`: keeps the socket, and has device processes serve it, one after the other.
import { isatty } from 'node:tty';
import { DeviceProcess } from '../daemon/device-process.ts';
import { Supervisor } from '../daemon/supervisor.ts';
import { serviceManager } from '../sys/service-manager.ts';
import type { Log } from '../virtio/log.ts';
import { type Answer, ControlSocket } from './control-socket.ts';
import { LogFile } from './log-file.ts';
import type { ServeFlags } from './serve-flags.ts';
import { openListener } from './serve-listener.ts';
import { type Served, ServeReport } from './serve-report.ts';

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
  supervisor = new Supervisor({
    start: () =>
      new DeviceProcess({
        command: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
        listenFd: listener.fd,
        onErrorLine: (line) => report.passOn(line),
        onStatus: (line) => serviceManager.notify(`STATUS=${line}`),
      }),
    log: report.log,
    onReady: (served, devicePid) => {
      report.listening({ ...(served as Served), devicePid }, flags.socket);
      serviceManager.notify('READY=1');
    },
    endMs: (flags.stopTimeout + LAST_SECONDS) * 1000,
  });
  const { socket } = flags;
  using _control = socket === undefined ? undefined : new ControlSocket(socket, () => upgrade(supervisor, report.log));
  process.exitCode = await supervisor.run();
}

async function upgrade(supervisor: Supervisor | undefined, log: Log): Promise<Answer> {
  try {
    const version = await supervisor?.upgrade();
    log(`upgraded: Belfry ${version} serves`, { event: 'upgraded', version });
    return { done: `Belfry ${version} serves` };
  } catch (error) {
    return { failed: (error as Error).message };
  }
}

function handleSignals(report: ServeReport, supervisorNow: () => Supervisor | undefined): void {
  const isOnTerminal = isatty(STDIN);
  const stop = (): void => {
    const supervisor = supervisorNow();
    // Nothing serves yet, and no process waits for this one.
    if (supervisor === undefined) process.exit(0);
    serviceManager.notify('STOPPING=1');
    supervisor.stop();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  process.on('SIGHUP', () => {
    if (isOnTerminal && !isatty(STDIN)) return stop(); // its terminal was closed
    report.reopen();
    supervisorNow()?.signal('SIGHUP');
  });
  for (const signal of ['SIGCONT', 'SIGUSR2'] as const) process.on(signal, () => supervisorNow()?.signal(signal));
  process.on('SIGUSR1', () => void upgrade(supervisorNow(), report.log));
}
