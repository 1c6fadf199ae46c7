// Ground floor: a vhost-user back end that was connected to: what it offers, its configuration space, and whether it is still there.

import type { EventLoop } from '../../../sys/event-loop.ts';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import type { Log } from '../../../virtio/log.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection } from '../protocol/connection.ts';
import * as vu from '../protocol/spec.ts';
import { Link } from './link.ts';
import { FrontEndRequests } from './requests.ts';

export interface RemoteBackEndOptions {
  /** How long the device configuration space is: that of the device's type. */
  readonly configBytes: number;
  /** One line for each thing a person should know. */
  readonly log: Log;
  /** How long it may take to introduce itself. 5 s unless said. */
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

export class RemoteBackEnd implements Disposable {
  /** Inside `converse` only. */
  readonly requests: FrontEndRequests;
  /** The device configuration space as the back end told it last. */
  config: Uint8Array = new Uint8Array(0);
  /** It went away by itself, or broke the protocol. */
  onGone: ((reason: Error) => void) | undefined;
  onConfigChange: (() => void) | undefined;
  readonly #options: RemoteBackEndOptions;
  readonly #loop: EventLoop;
  readonly #link: Link;
  #ownMessages: Connection | undefined;
  #gone: Error | undefined;

  private constructor(socket: UnixSocket, loop: EventLoop, options: RemoteBackEndOptions) {
    this.#options = options;
    this.#loop = loop;
    this.#link = new Link(socket, loop, {
      log: options.log,
      onClosed: (reason) => {
        this.#gone = reason;
        this.#ownMessages?.close(undefined);
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
      await backEnd.converse(() => backEnd.#introduce());
      return backEnd;
    } catch (error) {
      backEnd[Symbol.dispose]();
      if (!isLate) throw error;
      throw new BackEndError('connection', `did not introduce itself in ${timeoutMs} ms: does it serve another VM?`);
    } finally {
      timer[Symbol.dispose]();
    }
  }

  async #introduce(): Promise<void> {
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

  /** Messages of the back end's own. */
  #listen(socket: UnixSocket): void {
    this.#ownMessages = new Connection(socket, this.#loop, {
      onMessage: ({ request }) => {
        const isKnown = request === vu.BackendRequest.CONFIG_CHANGE_MSG;
        if (isKnown) void this.refreshConfig();
        return { ack: isKnown ? 0n : 1n };
      },
      onClosed: () => {},
    });
  }

  /** Reads the configuration space again; `onConfigChange` is told. */
  async refreshConfig(): Promise<void> {
    try {
      this.config = await this.converse(() => this.requests.readConfig(0, this.#options.configBytes));
      this.onConfigChange?.();
    } catch (problem) {
      if (this.#gone !== undefined) return;
      this.#options.log(`its configuration is not known: ${(problem as Error).message}`);
    }
  }

  /** Whether it went away, and why. */
  get gone(): Error | undefined {
    return this.#gone;
  }

  /** Has a conversation when those before it have ended. */
  converse<T>(conversation: () => Promise<T>): Promise<T> {
    return this.#link.converse(conversation);
  }

  /** Closes the connection; what is being asked is answered with BackEndError. `onGone` is not told. */
  [Symbol.dispose](): void {
    this.#gone ??= new BackEndError('connection', 'was left');
    this.#link[Symbol.dispose]();
    this.#ownMessages?.close(undefined);
  }
}
