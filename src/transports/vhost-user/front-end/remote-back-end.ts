// vhost-user/front-end: a connected vhost-user back end: what it offers, its configuration space, and whether it is still
// connected.

import type { EventLoop } from '../../../sys/event-loop.ts';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import type { Log } from '../../../virtio/log.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection } from '../protocol/connection.ts';
import * as vu from '../protocol/spec.ts';
import { Link } from './link.ts';
import { FrontEndRequests } from './requests.ts';

export interface RemoteBackEndOptions {
  /** Size of the configuration space of this device type. */
  readonly configBytes: number;
  /** Takes each log line. */
  readonly log: Log;
  /** Limit for the negotiation. Default: 5 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5000;
const PROTOCOL_FEATURES =
  vu.PROTOCOL_F_MQ |
  vu.PROTOCOL_F_REPLY_ACK |
  vu.PROTOCOL_F_BACKEND_REQ |
  vu.PROTOCOL_F_CONFIG |
  vu.PROTOCOL_F_INFLIGHT_SHMFD |
  vu.PROTOCOL_F_RESET_DEVICE |
  vu.PROTOCOL_F_CONFIGURE_MEM_SLOTS;

/** A connection to a back end, from negotiation until it is gone or disposed. */
export class RemoteBackEnd implements Disposable {
  /** Use inside `exchange` only. */
  readonly requests: FrontEndRequests;
  /** The configuration space as it was last read. */
  config: Uint8Array = new Uint8Array(0);
  /** Called when the back end closed the connection or broke the protocol. */
  onGone: ((reason: Error) => void) | undefined;
  onConfigChange: (() => void) | undefined;
  readonly #options: RemoteBackEndOptions;
  readonly #loop: EventLoop;
  readonly #link: Link;
  #backEndMessages: Connection | undefined;
  #gone: Error | undefined;

  private constructor(socket: UnixSocket, loop: EventLoop, options: RemoteBackEndOptions) {
    this.#options = options;
    this.#loop = loop;
    this.#link = new Link(socket, loop, {
      log: options.log,
      onClosed: (reason) => {
        this.#gone = reason;
        this.#backEndMessages?.close(undefined);
        this.onGone?.(reason);
      },
    });
    this.requests = new FrontEndRequests(this.#link, PROTOCOL_FEATURES);
  }

  /** Connects and negotiates. `loop` rides Node's. Rejects with SystemError (nothing listens) or BackEndError. */
  static async connect(path: string, loop: EventLoop, options: RemoteBackEndOptions): Promise<RemoteBackEnd> {
    const backEnd = new RemoteBackEnd(UnixSocket.connect(path), loop, options);
    const { timeoutMs = TIMEOUT_MS } = options;
    let isLate = false;
    const timer = loop.timer(timeoutMs, () => {
      isLate = true;
      backEnd[Symbol.dispose]();
    });
    try {
      await backEnd.exchange(() => backEnd.#negotiate());
      return backEnd;
    } catch (error) {
      backEnd[Symbol.dispose]();
      if (!isLate) throw error;
      throw new BackEndError('connection', `did not introduce itself in ${timeoutMs} ms: does it serve another VM?`);
    } finally {
      timer[Symbol.dispose]();
    }
  }

  async #negotiate(): Promise<void> {
    await this.requests.negotiate();
    if (this.requests.uses(vu.PROTOCOL_F_BACKEND_REQ)) {
      const [ours, theirs] = UnixSocket.pair();
      this.#listen(ours);
      try {
        await this.requests.giveBackEndSocket(theirs.fd);
      } finally {
        theirs[Symbol.dispose]();
      }
    }
    this.config = await this.requests.readConfig(0, this.#options.configBytes);
  }

  /** Handles messages that the back end sends by itself. */
  #listen(socket: UnixSocket): void {
    this.#backEndMessages = new Connection(socket, this.#loop, {
      onMessage: ({ request }) => {
        const isKnown = request === vu.BackendRequest.CONFIG_CHANGE_MSG;
        if (isKnown) void this.refreshConfig();
        return { ack: isKnown ? 0n : 1n };
      },
      onClosed: () => {},
    });
  }

  /** Reads the configuration space again and calls `onConfigChange`. */
  async refreshConfig(): Promise<void> {
    try {
      this.config = await this.exchange(() => this.requests.readConfig(0, this.#options.configBytes));
      this.onConfigChange?.();
    } catch (problem) {
      if (this.#gone !== undefined) return;
      this.#options.log(`the back end's configuration space cannot be read: ${(problem as Error).message}`);
    }
  }

  /** Why the connection is closed; undefined while it is open. */
  get gone(): Error | undefined {
    return this.#gone;
  }

  /** Runs `steps`, which may use `requests`, when the exchanges before it have ended. */
  exchange<T>(steps: () => Promise<T>): Promise<T> {
    return this.#link.exchange(steps);
  }

  /** Closes the connection. A pending request rejects with BackEndError; `onGone` is not called. */
  [Symbol.dispose](): void {
    this.#gone ??= new BackEndError('connection', 'was left');
    this.#link[Symbol.dispose]();
    this.#backEndMessages?.close(undefined);
  }
}
