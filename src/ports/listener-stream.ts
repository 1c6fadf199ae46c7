// ports: a console's port at a UNIX socket that one client at a time connects to.
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { duplicateFd } from '../sys/libc.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import type { ConsoleEnd } from './console-end.ts';

/** Where clients connect to. */
export interface ListenerStreamOptions {
  /** The path of the socket, which only its owner may use, or one that listens and is closed with the stream. */
  readonly socket: string | UnixListener;
  /** Called when a second client was refused. */
  readonly onRefused?: () => void;
}

/**
 * A listening UNIX socket as a stream: the bytes of one client, and then of the next one. While there is no client, what
 * is written is dropped.
 *
 * @example
 * device.addPort({ name: 'agent', stream: new ListenerStream({ socket: '/tmp/agent.sock' }) });
 */
export class ListenerStream extends Duplex implements ConsoleEnd {
  onOpen: ConsoleEnd['onOpen'];
  bytesRead = 0;
  bytesWritten = 0;
  readonly #listener: UnixListener;
  readonly #server: Server;
  #client: Socket | undefined;

  /** Listens. Throws SystemError: EADDRINUSE, EEXIST, ENAMETOOLONG, … */
  constructor({ socket, onRefused }: ListenerStreamOptions) {
    super({ decodeStrings: true });
    this.#listener = typeof socket === 'string' ? UnixListener.listen(socket) : socket;
    this.#server = createServer((client) => this.#connected(client));
    this.#server.maxConnections = 1;
    this.#server.on('drop', () => onRefused?.());
    this.#server.listen({ fd: duplicateFd(this.#listener.fd) });
  }

  get isOpen(): boolean {
    return this.#client !== undefined;
  }

  #connected(client: Socket): void {
    this.#client = client;
    client.on('error', () => {});
    client.once('close', () => {
      this.#client = undefined;
      this.onOpen?.(false);
    });
    client.on('data', (bytes) => {
      this.bytesRead += bytes.length;
      if (!this.push(bytes)) client.pause();
    });
    this.onOpen?.(true);
  }

  override _read(): void {
    this.#client?.resume();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    const client = this.#client;
    if (client === undefined || client.destroyed || client.writableEnded) return done();
    this.bytesWritten += bytes.length;
    // What a client that has gone has not read is dropped.
    client.write(bytes, () => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // In this order: a file that was made here is removed, and no new client connects.
    this.#listener[Symbol.dispose]();
    this.#server.close();
    this.#client?.destroy();
    done(error);
  }
}
