// Ground floor: a vhost-user back end that was connected to: what it offers, its configuration space, and whether it is still there.
import type { EventLoop } from '../../../sys/event-loop.ts';
import { UnixSocket } from '../../../sys/unix-socket.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { Connection } from '../protocol/connection.ts';
import * as vu from '../protocol/spec.ts';
import { BackEndLink, type Carried } from './back-end-link.ts';
import { type Dialogue, FrontEndDialogue } from './front-end-dialogue.ts';

export interface BackEndOptions {
  /** How long the device configuration space is: that of the device's type. */
  readonly configBytes: number;
  /** One line for each thing a person should know. */
  readonly log: (line: string) => void;
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

export class BackEnd implements Disposable {
  readonly dialogue = new FrontEndDialogue(PROTOCOL_FEATURES);
  /** The device configuration space as the back end told it last. */
  config: Uint8Array = new Uint8Array(0);
  /** It went away by itself, or broke the protocol. */
  onGone: ((reason: Error) => void) | undefined;
  onConfigChange: (() => void) | undefined;
  readonly #options: BackEndOptions;
  readonly #loop: EventLoop;
  readonly #link: BackEndLink;
  #requests: Connection | undefined;
  #gone: Error | undefined;

  private constructor(socket: UnixSocket, loop: EventLoop, options: BackEndOptions) {
    this.#options = options;
    this.#loop = loop;
    this.#link = new BackEndLink(socket, loop, {
      log: options.log,
      onClosed: (reason) => {
        this.#gone = reason;
        this.#requests?.close(undefined);
        this.onGone?.(reason);
      },
    });
  }

  /** Connects and negotiates. `loop` rides Node's. Rejects with SystemError (nobody listens) or BackEndError. */
  static async connect(path: string, loop: EventLoop, options: BackEndOptions): Promise<BackEnd> {
    const backEnd = new BackEnd(UnixSocket.connect(path), loop, options);
    const { timeoutMs = TIMEOUT_MS } = options;
    const { promise, resolve, reject } = Promise.withResolvers<BackEnd>();
    const timer = setTimeout(() => {
      reject(
        new BackEndError('connection', `did not introduce itself in ${timeoutMs} ms: does it serve somebody else?`),
      );
    }, timeoutMs);
    backEnd.carry(backEnd.#introduction(), (problem) => (problem ? reject(problem) : resolve(backEnd)));
    try {
      return await promise;
    } catch (error) {
      backEnd[Symbol.dispose]();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  *#introduction(): Dialogue<void> {
    yield* this.dialogue.negotiate();
    if (this.dialogue.uses(vu.PROTOCOL_F_BACKEND_REQ)) {
      const [ours, theirs] = UnixSocket.pair();
      this.#listen(ours);
      try {
        yield* this.dialogue.giveBackEndSocket(theirs.fd);
      } finally {
        theirs[Symbol.dispose]();
      }
    }
    this.config = yield* this.dialogue.readConfig(0, this.#options.configBytes);
  }

  /** Messages of the back end's own. */
  #listen(socket: UnixSocket): void {
    this.#requests = new Connection(socket, this.#loop, {
      onMessage: ({ request }, done) => {
        const isKnown = request === vu.BackendRequest.CONFIG_CHANGE_MSG;
        if (isKnown) this.refreshConfig();
        done({ ack: isKnown ? 0n : 1n });
      },
      onClosed: () => {},
    });
  }

  /** Reads the configuration space again; `onConfigChange` is told. */
  refreshConfig(): void {
    this.carry(this.dialogue.readConfig(0, this.#options.configBytes), (problem, config) => {
      if (this.#gone !== undefined) return;
      if (config === undefined) return this.#options.log(`its configuration is not known: ${problem?.message}`);
      this.config = config;
      this.onConfigChange?.();
    });
  }

  /** Whether it went away, and why. */
  get gone(): Error | undefined {
    return this.#gone;
  }

  carry<T>(dialogue: Dialogue<T>, done: Carried<T>): void {
    this.#link.carry(dialogue, done);
  }

  /** Closes the connection; what is being carried ends with a problem. `onGone` is not told. */
  [Symbol.dispose](): void {
    this.#gone ??= new BackEndError('connection', 'was left');
    this.#link[Symbol.dispose]();
    this.#requests?.close(undefined);
  }
}
