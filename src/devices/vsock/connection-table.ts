// virtio-vsock: the connections of one guest by their ports, how many there may be, and how much each may buffer.
import type { Connection } from './connection.ts';
import { BUFFER_BYTES_MAX, BUFFER_BYTES_MIN } from './credit.ts';

/** Connections of one guest at most; a further one is refused with RST. */
export const CONNECTIONS_MAX = 4096;
/** Bytes of the guest that wait for slow endpoints at most, over all connections. */
export const BUFFERED_BYTES_MAX = 128 * 1024 * 1024;

/** Finds connections, and reserves their buffers. */
export class ConnectionTable {
  readonly #byPort = new Map<number, Map<number, Connection>>();
  /** Connections that hold a buffer, whether their ports are in use or not. */
  readonly #all = new Set<Connection>();
  #reserved = 0;

  get size(): number {
    return this.#all.size;
  }

  /** The buffer that a new connection gets. Undefined where there are too many. */
  get nextBuffer(): number | undefined {
    const left = CONNECTIONS_MAX - this.#all.size;
    if (left === 0) return undefined;
    const isRoom = this.#reserved + BUFFER_BYTES_MAX + (left - 1) * BUFFER_BYTES_MIN <= BUFFERED_BYTES_MAX;
    return isRoom ? BUFFER_BYTES_MAX : BUFFER_BYTES_MIN;
  }

  find(guestPort: number, hostPort: number): Connection | undefined {
    return this.#byPort.get(guestPort)?.get(hostPort);
  }

  add(connection: Connection): void {
    const { guestPort, hostPort } = connection;
    let ports = this.#byPort.get(guestPort);
    if (ports === undefined) {
      ports = new Map();
      this.#byPort.set(guestPort, ports);
    }
    ports.set(hostPort, connection);
    this.#all.add(connection);
    this.#reserved += connection.credit.bufAlloc;
  }

  /** Its ports are free. It holds its buffer until `release`. */
  forget(connection: Connection): void {
    const ports = this.#byPort.get(connection.guestPort);
    if (ports?.get(connection.hostPort) !== connection) return;
    ports.delete(connection.hostPort);
    if (ports.size === 0) this.#byPort.delete(connection.guestPort);
  }

  release(connection: Connection): void {
    this.forget(connection);
    if (this.#all.delete(connection)) this.#reserved -= connection.credit.bufAlloc;
  }

  [Symbol.iterator](): SetIterator<Connection> {
    return this.#all.values();
  }
}
