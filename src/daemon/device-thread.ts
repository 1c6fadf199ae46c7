// Upper floor: the thread of a device's session: listening socket, front end, signals and its own queues in one epoll set.
import { constants } from 'node:os';
import { workerData } from 'node:worker_threads';
import { duplicateFd } from '../sys/libc.ts';
import { ProcessSignals } from '../sys/process-signals.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { VhostUserServer } from '../transports/vhost-user/back-end/server.ts';
import { leaveProcessEnd, mainThreadNs, type ProcessEnd } from './process-end.ts';
import { type HostAnswer, type HostCall, RemoteQueueHost } from './remote-queue-host.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { SpreadQueueHost } from './spread-queue-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface DeviceThreadSetup extends ServingThreadSetup {
  readonly listenFd: number;
  readonly once: boolean;
  /** Where SIGTERM and SIGINT are for this disk alone. */
  readonly processEnd: ProcessEnd | undefined;
  /** The other threads that own queues: where their answers arrive, and what to ring after a call. */
  readonly queueThreads: readonly { readonly answers: LinkEnd; readonly callsWakeFd: number }[];
}

const setup = workerData as DeviceThreadSetup;
const thread = new ServingThread(setup);
const { loop, device, log } = thread;

const remotes = setup.queueThreads.map(({ answers, callsWakeFd }) => {
  const sender = new LinkSender<HostCall>(answers.port, callsWakeFd);
  const remote = new RemoteQueueHost((call) => sender.send(call));
  receiveOn<HostAnswer>(loop, answers, (answer) => remote.answered(answer));
  return remote;
});

/** The other threads first: the main thread takes this one's end for that of all. */
function finish(): void {
  let left = remotes.length;
  if (left === 0) return thread.finish();
  for (const remote of remotes) remote.finish(() => --left === 0 && thread.finish());
}

const host = remotes.length === 0 ? thread.host : new SpreadQueueHost([thread.host, ...remotes]);
const listener = UnixListener.adopt(duplicateFd(setup.listenFd));
const server = new VhostUserServer(listener, device, host, loop, { log, once: setup.once, onClosed: finish });

function refresh(): void {
  try {
    for (const remote of remotes) remote.refresh();
    thread.refresh();
  } catch (error) {
    log(`the size of the store could not be read again: ${(error as Error).message}`);
  }
}

thread.onOrder = (order) => (order === 'stop' ? server.close() : refresh());
// The main thread hears them too, and says `stop`: but it may be busy.
const { SIGTERM, SIGINT } = constants.signals;
const { processEnd } = setup;
let toldAtNs: number | undefined;
function listenTo(signals: ProcessSignals, end: ProcessEnd): void {
  loop.watch(signals.fd, {
    readable: () => {
      if (signals.read() === undefined) return;
      toldAtNs ??= mainThreadNs(end);
      server.close();
    },
  });
}

using signals = processEnd && new ProcessSignals([SIGTERM, SIGINT]);
if (processEnd !== undefined && signals !== undefined) listenTo(signals, processEnd);
await thread.run();
if (processEnd !== undefined) leaveProcessEnd(processEnd, toldAtNs);
