// vhost-user/back-end: a listening socket that serves one front end at a time; the next is accepted when the session before
// has ended.

import type { EventLoop } from '../../../sys/event-loop.ts';
import { isPeerOf } from '../../../sys/socket-address.ts';
import type { UnixSocket } from '../../../sys/unix-socket.ts';
import { codeOf, type Log } from '../../../virtio/log.ts';
import type { DeviceHost } from '../../queue/queue-host.ts';
import { Connection } from '../protocol/connection.ts';
import type { Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { requestName } from '../protocol/spec.ts';
import { deviceMessages } from './device-messages.ts';
import { inFlightMessages } from './in-flight-messages.ts';
import { memoryMessages } from './memory-messages.ts';
import { type Handler, Session } from './session.ts';
import { vringMessages } from './vring-messages.ts';
import { WaitingFrontEnd } from './waiting-front-end.ts';

const handlers: { readonly [request: number]: Handler } = {
  ...deviceMessages,
  ...memoryMessages,
  ...inFlightMessages,
  ...vringMessages,
};

/** How soon accept is tried again after it failed. */
const RETRY_MS = 1000;

/** Where front ends come from: a listening socket. */
export interface Clients extends Disposable {
  /** Readable while a client waits. */
  readonly fd: number;
  /** As `UnixListener.address`. */
  readonly address: Uint8Array;
  /** Returns the next client, undefined when there is none. Throws SystemError. */
  accept(): UnixSocket | undefined;
}

export interface ServerOptions {
  /** Takes each log line. */
  readonly log: Log;
  /** Serve one front end, then close. */
  readonly once?: boolean;
  /**
   * Accept guest memory in a file of any file system. A FUSE server that does not answer then blocks this thread in a
   * page fault.
   */
  readonly allowFileMemory?: boolean;
  /** Called when everything is closed: after `close`, or after the one front end of `once`. */
  readonly onClosed?: () => void;
}

/** Serves a device to one vhost-user front end after the other. */
export class VhostUserServer {
  readonly #listener: Clients;
  readonly #host: DeviceHost;
  readonly #loop: EventLoop;
  readonly #options: ServerOptions;
  #listening: Disposable | undefined;
  #connection: Connection | undefined;
  #session: Session | undefined;
  /** From accept until the session has ended. */
  #isServing = false;
  #isClosing = false;
  #hasLoggedFailure = false;

  /** @param listener is disposed when the server closes. */
  constructor(listener: Clients, host: DeviceHost, loop: EventLoop, options: ServerOptions) {
    this.#listener = listener;
    this.#host = host;
    this.#loop = loop;
    this.#options = options;
    this.#listen();
  }

  #listen(): void {
    this.#listening = this.#loop.watch(this.#listener.fd, {
      readable: () => {
        const socket = this.#accept();
        if (socket === undefined) return;
        this.#listening?.[Symbol.dispose]();
        this.#serve(socket);
      },
    });
  }

  /** When descriptors or memory run out, the client stays in the backlog and accept is tried again after RETRY_MS. */
  #accept(): UnixSocket | undefined {
    try {
      const socket = this.#listener.accept();
      this.#hasLoggedFailure = false;
      return socket;
    } catch (error) {
      const { message } = error as Error;
      if (!this.#hasLoggedFailure)
        this.#options.log(`a front end waits: ${message}; tried again every second`, {
          event: 'waiting',
          ...codeOf(error),
        });
      this.#hasLoggedFailure = true;
      this.#listening?.[Symbol.dispose]();
      this.#listening = this.#loop.timer(RETRY_MS, () => this.#listen());
      return undefined;
    }
  }

  #serve(socket: UnixSocket): void {
    const { log, allowFileMemory = false } = this.#options;
    const session = new Session(this.#host, this.#loop, { log, allowFileMemory });
    const address = this.#listener.address;
    this.#isServing = true;
    log('a front end connected', { event: 'connected' });
    const connection = new Connection(socket, this.#loop, {
      onMessage: (message) => {
        if (message.fds.some((fd) => isPeerOf(fd, address)))
          throw new ProtocolError(requestName(message.request), 'a descriptor of the connection itself');
        return handlerOf(message)(session, message);
      },
      onClosed: (problem) => {
        this.#connection = undefined;
        if (problem !== undefined)
          log(`session ended: ${problem.message}`, { event: 'session-ended', ...codeOf(problem) });
        void this.#end(session);
      },
    });
    this.#connection = connection;
    this.#session = session;
    this.#listening = new WaitingFrontEnd(this.#listener, socket, this.#loop, {
      waits: (seconds) =>
        log(`a front end waits: another one has been connected for ${seconds} s`, { event: 'waiting' }),
      peerGone: () =>
        connection.close(
          new ProtocolError(
            'connection',
            'its process has exited, another process keeps the connection open, and another front end waits',
          ),
        ),
    });
  }

  async #end(session: Session): Promise<void> {
    try {
      await session.end();
    } catch (error) {
      const about = { event: 'device-failed', ...codeOf(error) } as const;
      this.#options.log(`the device failed at the end of a session: ${(error as Error).message}`, about);
    }
    this.#isServing = false;
    this.#options.log('the front end left', { event: 'left' });
    this.#listening?.[Symbol.dispose]();
    if (this.#options.once === true || this.#isClosing) this.#finish();
    else this.#listen();
  }

  /**
   * Stops listening, finishes the requests in flight, closes the session's connection, then calls `onClosed`. The
   * connection comes last: a front end without a record of requests in flight takes the used ring at its end for what
   * was finished.
   */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#listening?.[Symbol.dispose]();
    if (this.#isServing) this.#connection?.closeAfter(async () => await this.#session?.stopAll());
    else this.#finish();
  }

  #finish(): void {
    this.#isClosing = true;
    this.#listener[Symbol.dispose]();
    this.#options.onClosed?.();
  }
}

function handlerOf({ request }: Message): Handler {
  const handler = handlers[request];
  if (handler === undefined) throw new ProtocolError(requestName(request), 'not a message this back end knows');
  return handler;
}
