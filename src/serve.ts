// Ground floor: one device, one transport, one event loop. What a plain script calls.
import { EventLoop } from './sys/event-loop.ts';
import { rideNodeLoop } from './sys/node-loop.ts';
import { UnixListener } from './sys/unix-socket.ts';
import { LocalHost } from './transports/queue/local-host.ts';
import type { QueueReport } from './transports/queue/queue-report.ts';
import { VhostUserServer } from './transports/vhost-user/back-end/server.ts';
import type { VirtioDevice } from './virtio/device.ts';
import { type QueueTotals, totalOf } from './virtio/queue-counters.ts';

export interface ServeOptions {
  /** The socket to listen on: a path (made 0600, removed at the end) or an inherited listening descriptor. */
  readonly vhostUser: string | number;
  /** Serve one front end, then close. */
  readonly once?: boolean;
  /** One line for each thing a person should know; to stderr unless said. */
  readonly log?: (line: string) => void;
  /** One line for each thing that went right: a front end came, set the device up, left. Not told unless wanted. */
  readonly tell?: (line: string) => void;
  /** Told the time each batch of requests took from pop to publish, in ns: a `RecordableHistogram` of node:perf_hooks fits. */
  readonly latency?: { record(ns: number): void };
}

/** A device being served. */
export interface Server extends AsyncDisposable {
  /** What was served since the start, over all queues and sessions. */
  totals(): QueueTotals;
  /** Every queue that runs, as it is now: indices, flags, events, what is in flight. For finding out why something hangs. */
  report(): readonly QueueReport[];
  /** Fulfilled when everything is closed: after `close`, or after the one front end of `once`. */
  readonly closed: Promise<void>;
  /** Stops listening, finishes what is in flight, removes the socket. */
  close(): Promise<void>;
}

/**
 * Serves `device` over vhost-user inside Node's own loop: an `async` store works, timers and promises go on.
 * Listens when it returns. Throws SystemError when the socket cannot be made: EADDRINUSE, ENOENT, ENAMETOOLONG, …
 */
export function serve(device: VirtioDevice, options: ServeOptions): Server {
  const log = options.log ?? ((line) => console.error(line));
  const listener =
    typeof options.vhostUser === 'number'
      ? UnixListener.adopt(options.vhostUser)
      : UnixListener.listen(options.vhostUser);
  const loop = new EventLoop();
  const host = new LocalHost(device, loop, { log, ...(options.latency && { latency: options.latency }) });
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const server = new VhostUserServer(listener, host, loop, {
    log,
    ...(options.tell && { tell: options.tell }),
    once: options.once ?? false,
    onClosed: () => {
      ride[Symbol.dispose]();
      loop[Symbol.dispose]();
      resolve();
    },
  });
  const ride = rideNodeLoop(loop);
  const close = (): Promise<void> => {
    server.close();
    return closed;
  };
  const totals = (): QueueTotals => totalOf(host.counters);
  return { totals, report: () => host.report(), closed, close, [Symbol.asyncDispose]: close };
}
