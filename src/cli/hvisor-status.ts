// cli: the socket of `belfry hvisor start`, on which it tells its counts, and which a second daemon cannot have.
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { text } from 'node:stream/consumers';
import { duplicateFd } from '../sys/libc.ts';
import { UnixListener } from '../sys/unix-socket.ts';

const CLIENTS_MAX = 8;

/** Answers each connection with a JSON text, until disposed. Only the user who started the daemon may connect. */
export class StatusSocket implements Disposable {
  readonly #listener: UnixListener;
  readonly #server: Server;

  /** Throws SystemError: EADDRINUSE while another daemon runs. */
  constructor(path: string, snapshot: () => unknown) {
    this.#listener = UnixListener.listen(path);
    this.#server = createServer((client) => {
      client.on('error', () => {});
      client.end(`${JSON.stringify(snapshot() ?? {}, undefined, 2)}\n`);
    });
    this.#server.maxConnections = CLIENTS_MAX;
    this.#server.listen({ fd: duplicateFd(this.#listener.fd) });
    this.#server.unref();
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    this.#server.close();
  }
}

/** Returns what the daemon at `path` tells. Rejects where none runs. */
export async function askStatus(path: string): Promise<string> {
  const client = connect(path);
  try {
    await once(client, 'connect');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`--control ${path}: ${code}: no daemon runs there: belfry hvisor start FILE starts one`);
  }
  return (await text(client)).trimEnd();
}
