// Upper floor: the thread of a device's session: listening socket, front end, signals and its own queues in one epoll set.
import { constants } from 'node:os';
import { workerData } from 'node:worker_threads';
import { duplicateFd } from '../sys/libc.ts';
import { SignalFd } from '../sys/signal-fd.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { VhostUserServer } from '../transports/vhost-user/server.ts';
import { type HostAnswer, type HostCall, RemoteQueueHost } from './remote-queue-host.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { SpreadQueueHost } from './spread-queue-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface DeviceThreadSetup extends ServingThreadSetup {
  readonly listenFd: number;
  readonly once: boolean;
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

const host = remotes.length === 0 ? thread.host : new SpreadQueueHost([thread.host, ...remotes]);
const listener = UnixListener.adopt(duplicateFd(setup.listenFd));
const server = new VhostUserServer(listener, device, host, loop, {
  log,
  once: setup.once,
  onClosed: () => thread.finish(),
});

const { SIGTERM, SIGINT, SIGHUP } = constants.signals;
const signals = new SignalFd([SIGTERM, SIGINT, SIGHUP]);
loop.watch(signals.fd, () => {
  if (signals.read() !== SIGHUP) return server.close();
  try {
    for (const remote of remotes) remote.refresh();
    thread.refresh();
  } catch (error) {
    log(`the size of the store could not be read again: ${(error as Error).message}`);
  }
});

thread.run();
signals[Symbol.dispose]();
