// ports: UNIX sockets as the host's ends of vsock connections, in the convention of Firecracker: a guest's connection to
// port P goes to the socket PATH_P; a client of PATH writes "CONNECT P\n" and reads "OK HOSTPORT\n".
import type { VsockConnection, VsockContext, VsockDial, VsockEndpoint } from '../devices/vsock/vsock-port.ts';
import { SystemError } from '../sys/libc.ts';
import { endOutput, receiveSome, sendSome } from '../sys/stream-bytes.ts';
import { SOCKET_PATH_MAX, type UnixListener, UnixSocket } from '../sys/unix-socket.ts';

/** Clients of PATH that have not written their line yet; further ones wait in the backlog. */
export const CLIENTS_MAX = 64;
/** How long a client has for its line. */
const LINE_MS = 10_000;
/** "CONNECT 4294967295\n" has 19 bytes. */
const LINE_BYTES_MAX = 32;
const LONGEST_PORT = '_4294967295';

/** Throws RangeError for a path that leaves no room for the ports. */
export function checkVsockPath(path: string): void {
  const bytes = new TextEncoder().encode(path).length;
  const most = SOCKET_PATH_MAX - LONGEST_PORT.length;
  if (bytes === 0 || bytes > most)
    throw new RangeError(
      `${path}: a path has 1 to ${most} bytes here, this one has ${bytes}: "${LONGEST_PORT}" is added, and a socket path has at most ${SOCKET_PATH_MAX}`,
    );
}

/** Connects to PATH_PORT. Returns undefined where nothing listens there, or it is busy. Throws SystemError. */
export function connectVsockPath(path: string, port: number): UnixSocket | undefined {
  try {
    return UnixSocket.connect(`${path}_${port}`);
  } catch (error) {
    if (error instanceof SystemError && ['ENOENT', 'ECONNREFUSED', 'EAGAIN'].includes(error.code)) return undefined;
    throw error;
  }
}

/** A connected socket as one end of a connection. What it cannot take waits at the device, and then in the guest. */
export class UnixEndpoint implements VsockEndpoint {
  readonly #socket: UnixSocket;
  readonly #connection: VsockConnection;
  readonly #context: VsockContext;
  /** Sent first to the client: `OK HOSTPORT`. */
  readonly #greeting: string | undefined;
  /** What the client sent behind its line. */
  #early: Uint8Array;
  #isConnected: boolean;
  #reads = true;
  #writes = false;
  #watch: Disposable | undefined;
  #isOver = false;

  /** @param client of a client of PATH: what it sent behind its line. */
  constructor(socket: UnixSocket, connection: VsockConnection, context: VsockContext, client?: Uint8Array) {
    this.#socket = socket;
    this.#connection = connection;
    this.#context = context;
    this.#early = client ?? new Uint8Array(0);
    this.#greeting = client === undefined ? undefined : `OK ${connection.hostPort}\n`;
    this.#isConnected = client === undefined;
    if (this.#isConnected) this.#listen();
  }

  connected(): void {
    this.#isConnected = true;
    // A new connection has room for a line.
    sendSome(this.#socket.fd, [new TextEncoder().encode(this.#greeting)]);
    this.#listen();
    if (this.#early.length > 0) this.#connection.ready();
  }

  #listen(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    if (this.#isOver || !(this.#reads || this.#writes)) return;
    this.#watch = this.#context.watch(this.#socket.fd, {
      ...(this.#reads && { readable: this.#onReadable }),
      ...(this.#writes && { writable: this.#onWritable }),
    });
  }

  readonly #onReadable = (): void => {
    this.#connection.ready();
    // The guest has no room: the rest waits in the socket.
    if (!this.#connection.isWaiting || !this.#reads) return;
    this.#reads = false;
    this.#listen();
  };

  readonly #onWritable = (): void => {
    this.#writes = false;
    this.#listen();
    this.#connection.resume();
  };

  receive(bytes: Uint8Array): number | undefined {
    let sent: number | undefined;
    try {
      sent = sendSome(this.#socket.fd, [bytes]);
    } catch {
      // EPIPE, ECONNRESET: nobody reads any more.
      this.#lost();
      return bytes.length;
    }
    if ((sent ?? 0) < bytes.length && !this.#writes) {
      this.#writes = true;
      this.#listen();
    }
    return sent;
  }

  read(into: Uint8Array): number | undefined {
    if (this.#early.length > 0) {
      const piece = this.#early.subarray(0, into.length);
      into.set(piece);
      this.#early = this.#early.subarray(piece.length);
      return piece.length;
    }
    let count: number | undefined;
    try {
      count = receiveSome(this.#socket.fd, into);
    } catch {
      this.#lost();
      return undefined;
    }
    const reads = count !== 0;
    if (reads !== this.#reads && (count === undefined || count === 0)) {
      this.#reads = reads;
      this.#listen();
    }
    return count;
  }

  ended(): void {
    endOutput(this.#socket.fd);
  }

  refused(): void {
    this.#reads = false;
    this.#listen();
  }

  #lost(): void {
    this.#connection.reset();
    this.closed();
  }

  closed(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#socket[Symbol.dispose]();
  }
}

/** Listens at PATH for clients that want to connect to a port of the guest. */
export class VsockClients implements Disposable {
  readonly #listener: UnixListener;
  readonly #context: VsockContext;
  readonly #dial: (port: number, make: Parameters<VsockDial>[2]) => VsockConnection | undefined;
  readonly #waiting = new Set<Disposable>();
  #watch: Disposable | undefined;

  constructor(
    listener: UnixListener,
    context: VsockContext,
    dial: (port: number, make: Parameters<VsockDial>[2]) => VsockConnection | undefined,
  ) {
    this.#listener = listener;
    this.#context = context;
    this.#dial = dial;
    this.#listen();
  }

  readonly #listen = (): void => {
    this.#watch?.[Symbol.dispose]();
    this.#watch = this.#context.watch(this.#listener.fd, { readable: this.#accept });
  };

  readonly #accept = (): void => {
    try {
      const socket = this.#listener.accept();
      if (socket !== undefined) this.#await(socket);
      if (this.#waiting.size < CLIENTS_MAX) return;
      this.#pause();
    } catch (error) {
      this.#context.log(`vsock: no client can be taken at ${this.#listener.path}: ${(error as Error).message}`);
      this.#pause();
      this.#context.timer(1000, this.#listen);
    }
  };

  #pause(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  /** Waits for the line of a client. */
  #await(socket: UnixSocket): void {
    const line = new Uint8Array(LINE_BYTES_MAX);
    let length = 0;
    const done = (): void => {
      watch[Symbol.dispose]();
      timer[Symbol.dispose]();
      this.#waiting.delete(client);
      if (this.#watch === undefined && this.#waiting.size < CLIENTS_MAX) this.#listen();
    };
    const refuse = (): void => {
      done();
      socket[Symbol.dispose]();
    };
    const client = { [Symbol.dispose]: refuse };
    const onReadable = (): void => {
      let count: number | undefined;
      try {
        count = receiveSome(socket.fd, line.subarray(length));
      } catch {
        return refuse();
      }
      if (count === undefined) return;
      length += count;
      const end = line.subarray(0, length).indexOf(10);
      if (end < 0) return count === 0 || length === LINE_BYTES_MAX ? refuse() : undefined;
      const port = parseLine(line.subarray(0, end));
      if (port === undefined) return refuse();
      done();
      this.#connect(socket, port, line.slice(end + 1, length));
    };
    const watch = this.#context.watch(socket.fd, { readable: onReadable });
    const timer = this.#context.timer(LINE_MS, refuse);
    this.#waiting.add(client);
  }

  #connect(socket: UnixSocket, port: number, early: Uint8Array): void {
    const make = (connection: VsockConnection): VsockEndpoint =>
      new UnixEndpoint(socket, connection, this.#context, early);
    if (this.#dial(port, make) === undefined) socket[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const client of this.#waiting) client[Symbol.dispose]();
    this.#pause();
    this.#listener[Symbol.dispose]();
  }
}

function parseLine(bytes: Uint8Array): number | undefined {
  const [, port] = /^connect (\d{1,10})\r?$/i.exec(new TextDecoder('latin1').decode(bytes)) ?? [];
  return port !== undefined && Number(port) <= 0xffff_ffff ? Number(port) : undefined;
}
