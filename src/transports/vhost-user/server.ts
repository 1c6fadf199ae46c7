// Ground floor: a listening socket and the front ends that come to it, one at a time; the next is served when the first leaves.
import type { EventLoop } from '../../sys/event-loop.ts';
import type { UnixListener, UnixSocket } from '../../sys/unix-socket.ts';
import type { VirtioDevice } from '../../virtio/device.ts';
import type { QueueHost } from '../queue-host.ts';
import { Connection } from './connection.ts';
import { deviceMessages } from './device-messages.ts';
import { memoryMessages } from './memory-messages.ts';
import { ProtocolError } from './protocol-error.ts';
import { type Handler, Session } from './session.ts';
import { requestName } from './spec.ts';
import { vringMessages } from './vring-messages.ts';

const handlers: { readonly [request: number]: Handler } = { ...deviceMessages, ...memoryMessages, ...vringMessages };

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

  constructor(listener: UnixListener, device: VirtioDevice, host: QueueHost, loop: EventLoop, options: ServerOptions) {
    this.#listener = listener;
    this.#device = device;
    this.#host = host;
    this.#loop = loop;
    this.#options = options;
    this.#listen();
  }

  #listen(): void {
    this.#watch = this.#loop.watch(this.#listener.fd, () => {
      const socket = this.#listener.accept();
      if (socket === undefined) return;
      this.#watch?.[Symbol.dispose]();
      this.#serve(socket);
    });
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
    if (this.#serving) this.#connection?.close(undefined);
    else this.#finish();
  }

  #finish(): void {
    this.#closing = true;
    this.#listener[Symbol.dispose]();
    this.#options.onClosed?.();
  }
}
