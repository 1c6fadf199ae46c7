// ports: the host's side of a socket device: listeners and connections of TypeScript, and UNIX sockets.
import type {
  VsockConnection,
  VsockContext,
  VsockDial,
  VsockEndpoint,
  VsockPort,
  VsockType,
} from '../devices/vsock/vsock-port.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import { VsockSocket } from './vsock-socket.ts';
import { checkVsockPath, connectVsockPath, UnixEndpoint, VsockClients } from './vsock-unix.ts';

/** Where the ports of the host's connections begin: below are those that something may listen at. */
const HOST_PORT_FIRST = 0x4000_0000;
const HOST_PORT_LAST = 0x7fff_ffff;
const PORT_MAX = 0xffff_ffff;
/** Ports that are tried for a connection of the host's. */
const TRIES = 8;

/** The options of a host. */
export interface VsockHostOptions {
  /**
   * The path of UNIX sockets: a connection of the guest's to port P that nothing here listens at goes to `PATH_P`; a
   * client of `PATH` that writes `CONNECT P\n` is connected to port P of the guest. Absent: none.
   */
  readonly uds?: string;
}

/** The type of a connection. */
export interface VsockTypeOption {
  /** Default: stream. */
  readonly type?: VsockType;
}

/** Handles a connection of the guest's. What it throws refuses the connection. */
export type VsockListener = (socket: VsockSocket) => void;

/**
 * What the guest finds at CID 2.
 *
 * @example The host asks a server in the guest:
 * const host = new VsockHost();
 * serve(new VsockDevice({ cid: 3, port: host }), { vhostUser: '/tmp/vsock.sock' });
 * const socket = await host.connect(1024);
 * socket.end('hello');
 */
export class VsockHost implements VsockPort, Disposable {
  dial: VsockDial | undefined;
  readonly #listeners = new Map<string, VsockListener>();
  readonly #uds: string | undefined;
  readonly #listener: UnixListener | undefined;
  #clients: VsockClients | undefined;
  #context: VsockContext | undefined;
  #nextPort = HOST_PORT_FIRST;

  /** Throws RangeError for a path that is too long, SystemError for one that cannot be listened at. */
  constructor({ uds }: VsockHostOptions = {}) {
    if (uds !== undefined) checkVsockPath(uds);
    this.#uds = uds;
    this.#listener = uds === undefined ? undefined : UnixListener.listen(uds);
  }

  /**
   * Calls `listener` for each connection of the guest's to `port`, until disposed. Throws RangeError for a port that is
   * none, Error for one that is in use.
   */
  listen(port: number, listener: VsockListener, { type = 'stream' }: VsockTypeOption = {}): Disposable {
    checkPort(port);
    const key = `${type} ${port}`;
    if (this.#listeners.has(key)) throw new Error(`vsock: port ${port} has a listener already`);
    this.#listeners.set(key, listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(key) };
  }

  /** Connects to `port` of the guest. Rejects with Error: refused, no answer, or the device is not served. */
  connect(port: number, { type = 'stream' }: VsockTypeOption = {}): Promise<VsockSocket> {
    checkPort(port);
    return new Promise((resolve, reject) => {
      const make = (connection: VsockConnection): VsockEndpoint => {
        const socket = new VsockSocket(connection, () => {
          socket.off('error', reject);
          resolve(socket);
        });
        socket.on('error', reject);
        return socket.endpoint;
      };
      if (this.#dialFrom(port, type, make) === undefined)
        reject(
          new Error(`vsock: no connection to port ${port}: the device is not served, or has too many connections`),
        );
    });
  }

  #dialFrom(guestPort: number, type: VsockType, make: Parameters<VsockDial>[2]): VsockConnection | undefined {
    for (let tries = 0; tries < TRIES; tries++) {
      const hostPort = this.#nextPort;
      this.#nextPort = hostPort === HOST_PORT_LAST ? HOST_PORT_FIRST : hostPort + 1;
      const connection = this.dial?.({ guestPort, hostPort }, type, make);
      if (connection !== undefined) return connection;
    }
    return undefined;
  }

  attach(context: VsockContext): void {
    this.#context = context;
    if (this.#listener === undefined || this.#clients !== undefined) return;
    this.#clients = new VsockClients(this.#listener, context, (port, make) => this.#dialFrom(port, 'stream', make));
  }

  accept(connection: VsockConnection): VsockEndpoint | undefined {
    const { type, hostPort } = connection;
    const listener = this.#listeners.get(`${type} ${hostPort}`);
    if (listener !== undefined) {
      const socket = new VsockSocket(connection);
      listener(socket);
      return socket.endpoint;
    }
    if (this.#uds === undefined || type !== 'stream' || this.#context === undefined) return undefined;
    const socket = connectVsockPath(this.#uds, hostPort);
    return socket && new UnixEndpoint(socket, connection, this.#context);
  }

  close(): void {
    this.#clients?.[Symbol.dispose]();
    this.#listener?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX)
    throw new RangeError(`the port ${port}: a whole number from 0 to ${PORT_MAX} is wanted`);
}
