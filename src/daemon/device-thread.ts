// daemon: the device thread, which has the session: listening socket, front end, signals and its own queues in one
// epoll set.
import { duplicateFd } from '../sys/libc.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { VhostUserServer } from '../transports/vhost-user/back-end/server.ts';
import { codeOf, type Log } from '../virtio/log.ts';
import { EndingSignals, leaveProcessEnd, type ProcessEnd } from './process-end.ts';
import { rehearse } from './rehearsal.ts';
import { ServingThread, type ServingThreadSetup } from './serving-thread.ts';
import { threadSetup } from './spare-threads.ts';
import { refreshAll, SpreadHost } from './spread-host.ts';
import { type HostAnswer, type HostCall, ThreadHost } from './thread-host.ts';
import { type LinkEnd, LinkSender, receiveOn } from './thread-link.ts';

export interface DeviceThreadSetup extends ServingThreadSetup {
  readonly listenFd: number;
  readonly once: boolean;
  readonly allowFileMemory: boolean;
  /** Present where SIGTERM and SIGINT end the process of this device. */
  readonly processEnd: ProcessEnd | undefined;
  /** The queue threads: where their answers arrive, and the eventfd to signal after a call. */
  readonly queueThreads: readonly { readonly answers: LinkEnd; readonly callsWakeFd: number }[];
}

const setup = await threadSetup<DeviceThreadSetup>(rehearse);
const { once, allowFileMemory, processEnd } = setup;
const thread = await ServingThread.open(setup);
const { loop, log } = thread;
const { device } = thread.host;

const others = setup.queueThreads.map(({ answers, callsWakeFd }) => {
  const sender = new LinkSender<HostCall>(answers.port, callsWakeFd);
  const host = new ThreadHost(device, (call) => sender.send(call));
  receiveOn<HostAnswer>(loop, answers, (answer) => host.answered(answer));
  return host;
});

/** Queue threads finish first: the main thread takes the exit of this thread as the end of all. */
async function finish(): Promise<void> {
  await Promise.all(others.map((other) => other.finish()));
  await thread.finish();
}

const host =
  others.length === 0
    ? thread.host
    : new SpreadHost([thread.host, ...others], device.threadOf && ((queue) => device.threadOf?.(queue) ?? 0));
const listener = UnixListener.adopt(duplicateFd(setup.listenFd));
const onClosed = (): void => void finish();
const noted: Log = (line, about) => {
  thread.counters.note(about?.event);
  log(line, about);
};
const server = new VhostUserServer(listener, host, loop, { log: noted, once, allowFileMemory, onClosed });

async function refresh(): Promise<void> {
  try {
    const sizeBytes = await refreshAll(others, () => thread.refresh());
    if (sizeBytes !== undefined) log(`the disk has ${sizeBytes} bytes now`, { event: 'resized', sizeBytes });
  } catch (error) {
    const about = { event: 'store-failed', ...codeOf(error) } as const;
    log(`the size of the store could not be read again: ${(error as Error).message}`, about);
  }
  thread.counters.countRefresh();
}

thread.onOrder = (order) => (order === 'refresh' ? void refresh() : server.close());
const signals = processEnd && new EndingSignals(loop, processEnd, () => server.close());
await thread.run();
if (processEnd !== undefined) leaveProcessEnd(processEnd, signals?.mainThreadCpuNs);
signals?.[Symbol.dispose]();
thread.exit();
