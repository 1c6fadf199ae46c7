// ports: a network card at a UNIX stream socket, in the framing of QEMU's `-netdev stream` and of passt.
import type { NetPort, PortContext } from '../devices/net/net-port.ts';
import { UnixListener, UnixSocket } from '../sys/unix-socket.ts';
import { FrameStream } from './frame-stream.ts';

/** How often a connection is tried again. */
const RETRY_MS = 1000;

/** Where the other end is. */
export interface StreamPortOptions {
  /** The path of the socket. */
  readonly path: string;
  /** Make the socket and serve one client at a time, instead of connecting to it. */
  readonly isListening?: boolean;
}

/**
 * A stream socket, connected or listening. The link is down while there is no peer: a connection that ended is tried
 * again once a second, and a listening socket takes the next client. No offloads: QEMU's framing has no header for them.
 */
export class StreamPort implements NetPort, Disposable {
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  readonly #path: string;
  readonly #listener: UnixListener | undefined;
  #context: PortContext | undefined;
  #peer: UnixSocket | undefined;
  #stream: FrameStream | undefined;
  #watch: Disposable | undefined;
  #waiting: Disposable | undefined;

  /** Connects, or listens. Throws SystemError: ENOENT, ECONNREFUSED, EADDRINUSE, ENAMETOOLONG, … */
  constructor({ path, isListening = false }: StreamPortOptions) {
    this.#path = path;
    if (isListening) this.#listener = UnixListener.listen(path);
    else this.#peer = UnixSocket.connect(path);
  }

  attach(context: PortContext): void {
    this.#context = context;
    if (this.#peer !== undefined) this.#connected(this.#peer);
    else this.#disconnected();
  }

  #connected(peer: UnixSocket): void {
    this.#waiting?.[Symbol.dispose]();
    this.#waiting = undefined;
    this.#peer = peer;
    this.#stream = new FrameStream(peer.fd);
    this.#listen();
    this.onLink?.(true);
  }

  /** Watches the connection: for writing too while something is unsent. */
  #listen(): void {
    this.#watch?.[Symbol.dispose]();
    const { fd } = this.#peer as UnixSocket;
    const writable = this.#stream?.hasUnsent ? { writable: this.#flush } : {};
    this.#watch = this.#context?.watch(fd, { readable: this.#receive, ...writable });
  }

  readonly #receive = (): void => {
    try {
      if (this.#stream?.receive((frame) => this.onFrame?.(frame)) === false) this.#lost('the peer closed it');
    } catch (error) {
      this.#lost((error as Error).message);
    }
  };

  readonly #flush = (): void => {
    try {
      this.#stream?.flush();
    } catch (error) {
      return this.#lost((error as Error).message);
    }
    if (this.#stream?.hasUnsent === false) this.#listen();
  };

  send(frame: Uint8Array): boolean {
    const stream = this.#stream;
    if (stream === undefined) return false;
    const { hasUnsent } = stream;
    try {
      const isSent = stream.send(frame);
      if (stream.hasUnsent && !hasUnsent) this.#listen();
      return isSent;
    } catch (error) {
      this.#lost((error as Error).message);
      return false;
    }
  }

  #lost(why: string): void {
    const next = this.#listener === undefined ? 'it is tried again every second' : 'the next client is waited for';
    this.#context?.log(`the connection at ${this.#path} ended, and the link is down: ${why}; ${next}`);
    this.#release();
    this.#disconnected();
  }

  /** The link is down until there is a peer. */
  #disconnected(): void {
    this.onLink?.(false);
    if (this.#listener === undefined) this.#waiting = this.#context?.timer(RETRY_MS, this.#connect);
    else this.#awaitClient();
  }

  readonly #awaitClient = (): void => {
    this.#waiting = this.#context?.watch((this.#listener as UnixListener).fd, { readable: this.#accept });
  };

  readonly #connect = (): void => {
    try {
      this.#connected(UnixSocket.connect(this.#path));
    } catch {
      this.#waiting = this.#context?.timer(RETRY_MS, this.#connect);
    }
  };

  /** A second client waits in the backlog until the first one is gone. */
  readonly #accept = (): void => {
    try {
      const peer = this.#listener?.accept();
      if (peer !== undefined) this.#connected(peer);
    } catch (error) {
      this.#context?.log(`no client can be taken at ${this.#path}: ${(error as Error).message}`);
      this.#waiting?.[Symbol.dispose]();
      this.#waiting = this.#context?.timer(RETRY_MS, this.#awaitClient);
    }
  };

  #release(): void {
    this.#watch?.[Symbol.dispose]();
    this.#waiting?.[Symbol.dispose]();
    this.#peer?.[Symbol.dispose]();
    this.#watch = this.#waiting = this.#peer = this.#stream = undefined;
  }

  close(): void {
    this.#release();
    this.#listener?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
