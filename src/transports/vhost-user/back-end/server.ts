// Ground floor: a listening socket and the front ends that come to it, one at a time; the next is served when the first leaves.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { TimerFd } from '../../../sys/timer-fd.ts';
import type { UnixListener, UnixSocket } from '../../../sys/unix-socket.ts';
import type { VirtioDevice } from '../../../virtio/device.ts';
import type { QueueHost } from '../../queue/queue-host.ts';
import { Connection } from '../protocol/connection.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { requestName } from '../protocol/spec.ts';
import { deviceMessages } from './device-messages.ts';
import { memoryMessages } from './memory-messages.ts';
import { type Handler, Session } from './session.ts';
import { vringMessages } from './vring-messages.ts';

const handlers: { readonly [request: number]: Handler } = { ...deviceMessages, ...memoryMessages, ...vringMessages };

/** How soon a front end that could not be taken on is looked at again. */
const RETRY_MS = 1000;

export interface ServerOptions {
  /** One line for each thing a person should know. */
  readonly log: (line: string) => void;
  /** Serve one front end, then close. */
  readonly once?: boolean;
  /** Everything is closed: after `close`, or after the one front end of `once`. */
  readonly onClosed?: () => void;
}

export class VhostUserServer {
  readonly #listener: UnixListener;
  readonly #device: VirtioDevice;
  readonly #host: QueueHost;
  readonly #loop: EventLoop;
  readonly #options: ServerOptions;
  #watch: Disposable | undefined;
  #connection: Connection | undefined;
  /** From a front end's coming until nothing is left of its session. */
  #serving = false;
  #closing = false;
  /** Made while there are descriptors. */
  readonly #retry = new TimerFd();
  readonly #retryWatch: Disposable;
  #hasComplained = false;

  constructor(listener: UnixListener, device: VirtioDevice, host: QueueHost, loop: EventLoop, options: ServerOptions) {
    this.#listener = listener;
    this.#device = device;
    this.#host = host;
    this.#loop = loop;
    this.#options = options;
    this.#retryWatch = loop.watch(this.#retry.fd, {
      readable: () => {
        if (this.#retry.expirations() > 0) this.#listen();
      },
    });
    this.#listen();
  }

  #listen(): void {
    this.#watch = this.#loop.watch(this.#listener.fd, {
      readable: () => {
        const socket = this.#accept();
        if (socket === undefined) return;
        this.#watch?.[Symbol.dispose]();
        this.#serve(socket);
      },
    });
  }

  /** A client for whom there is no descriptor or memory keeps its place; the socket stays readable meanwhile, and is not looked at. */
  #accept(): UnixSocket | undefined {
    try {
      const socket = this.#listener.accept();
      this.#hasComplained = false;
      return socket;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#hasComplained) this.#options.log(`a front end waits: ${message}; tried again every second`);
      this.#hasComplained = true;
      this.#watch?.[Symbol.dispose]();
      this.#retry.set(RETRY_MS);
      return undefined;
    }
  }

  #serve(socket: UnixSocket): void {
    const { log, once } = this.#options;
    const session = new Session(this.#device, this.#host, log);
    this.#serving = true;
    this.#connection = new Connection(socket, this.#loop, {
      onMessage: (message, done) => {
        const handler = handlers[message.request];
        if (handler === undefined)
          throw new ProtocolError(requestName(message.request), 'not a message this back end knows');
        handler(session, message, done);
      },
      onClosed: (problem) => {
        this.#connection = undefined;
        if (problem !== undefined) log(`session ended: ${problem.message}`);
        session.end(() => {
          this.#serving = false;
          if (once || this.#closing) this.#finish();
          else this.#listen();
        });
      },
    });
  }

  /** Stops listening, ends the session when its requests in flight are done, then calls `onClosed`. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#watch?.[Symbol.dispose]();
    this.#retryWatch[Symbol.dispose]();
    if (this.#serving) this.#connection?.close(undefined);
    else this.#finish();
  }

  #finish(): void {
    this.#closing = true;
    this.#retryWatch[Symbol.dispose]();
    this.#retry[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    this.#options.onClosed?.();
  }
}
