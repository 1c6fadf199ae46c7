// cli: a served console at a UNIX socket that one client at a time connects to.
import { createServer, type Server, type Socket } from 'node:net';
import { duplicateFd } from '../sys/libc.ts';
import { UnixListener } from '../sys/unix-socket.ts';
import type { Log } from '../virtio/log.ts';
import { type ConsoleEnd, passOn } from './serve-console-end.ts';

export class ConsoleClients implements ConsoleEnd {
  readonly name: string;
  readonly #line: Socket;
  readonly #listener: UnixListener;
  readonly #server: Server;
  #client: Socket | undefined;

  /** Listens at `path`, which only its owner may use. Throws what `UnixListener.listen` throws. */
  constructor(line: Socket, path: string, log: Log) {
    this.name = `a console for clients of ${path}`;
    this.#line = line;
    this.#listener = UnixListener.listen(path);
    this.#server = createServer((client) => this.#connected(client));
    this.#server.maxConnections = 1;
    this.#server.on('drop', () => log(`${path}: a second client was refused`, { event: 'refused' }));
    passOn(line, () => this.#client);
  }

  start(): void {
    this.#server.listen({ fd: duplicateFd(this.#listener.fd) });
  }

  #connected(client: Socket): void {
    this.#client = client;
    client.on('error', () => {});
    client.once('close', () => {
      this.#client = undefined;
    });
    client.pipe(this.#line, { end: false });
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    this.#server.close();
    // `end` sends what is buffered first.
    this.#client?.end();
  }
}
