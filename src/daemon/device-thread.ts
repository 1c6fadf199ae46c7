// Upper floor: the thread of a device's session: listening socket, front end, signals and its own queues in one epoll set.
import { constants } from 'node:os';
import { workerData } from 'node:worker_threads';
import { duplicateFd } from '../sys/libc.ts';
import { ProcessSignals } from '../sys/process-signals.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { VhostUserServer } from '../transports/vhost-user/back-end/server.ts';
import { leaveProcessEnd, mainThreadNs, type ProcessEnd } from './process-end.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { SpreadHost } from './spread-host.ts';
import { type HostAnswer, type HostCall, ThreadHost } from './thread-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface DeviceThreadSetup extends ServingThreadSetup {
  readonly listenFd: number;
  readonly once: boolean;
  /** Where SIGTERM and SIGINT are for this device alone. */
  readonly processEnd: ProcessEnd | undefined;
  /** The other threads that own queues: where their answers arrive, and what to ring after a call. */
  readonly queueThreads: readonly { readonly answers: LinkEnd; readonly callsWakeFd: number }[];
}

const setup = workerData as DeviceThreadSetup;
const thread = new ServingThread(setup);
const { loop, log, tell } = thread;
const { device } = thread.host;

const others = setup.queueThreads.map(({ answers, callsWakeFd }) => {
  const sender = new LinkSender<HostCall>(answers.port, callsWakeFd);
  const host = new ThreadHost(device, (call) => sender.send(call));
  receiveOn<HostAnswer>(loop, answers, (answer) => host.answered(answer));
  return host;
});

/** Queue threads finish first: when this thread exits, the main thread takes it that all have. */
async function finish(): Promise<void> {
  await Promise.all(others.map((other) => other.finish()));
  await thread.finish();
}

const host =
  others.length === 0
    ? thread.host
    : new SpreadHost([thread.host, ...others], device.threadOf && ((queue) => device.threadOf?.(queue) ?? 0));
const listener = UnixListener.adopt(duplicateFd(setup.listenFd));
const server = new VhostUserServer(listener, host, loop, {
  log,
  tell,
  once: setup.once,
  onClosed: () => void finish(),
});

/** The driver is told when every thread has the new size: a request for the new end may come at once. */
async function refresh(): Promise<void> {
  try {
    await Promise.all(others.map((other) => other.refresh()));
    thread.refresh();
  } catch (error) {
    log(`the size of the store could not be read again: ${(error as Error).message}`);
  }
}

thread.onOrder = (order) => (order === 'stop' ? server.close() : void refresh());
// The main thread hears them too, and says `stop`: but it may be busy.
const { SIGTERM, SIGINT } = constants.signals;
const { processEnd } = setup;
let toldAtNs: number | undefined;
function listenTo(signals: ProcessSignals, end: ProcessEnd): void {
  const readable = (): void => {
    if (signals.read() === undefined) return;
    toldAtNs ??= mainThreadNs(end);
    server.close();
  };
  loop.watch(signals.fd, { readable });
}

using signals = processEnd && new ProcessSignals([SIGTERM, SIGINT]);
if (processEnd !== undefined && signals !== undefined) listenTo(signals, processEnd);
await thread.run();
if (processEnd !== undefined) leaveProcessEnd(processEnd, toldAtNs);
