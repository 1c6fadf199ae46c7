// cli: the socket on which a supervisor takes orders, beside the one that it serves: a line of JSON each way.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { duplicateFd } from '../sys/libc.ts';
import { UnixListener } from '../sys/unix-socket.ts';

export interface Order {
  readonly order: 'upgrade';
}

/** Either what was done, or why not. */
export type Answer = { readonly done: string } | { readonly failed: string };

/** A longer line is no order. */
const LINE_BYTES_MAX = 4096;
const CLIENTS_MAX = 8;

/** Returns the path of the control socket of a supervisor that serves at `socket`. */
export function controlPath(socket: string): string {
  return `${socket}.control`;
}

/** Listens until it is disposed of. Only the user who started the supervisor may connect. */
export class ControlSocket implements Disposable {
  readonly #listener: UnixListener;
  readonly #server: Server;
  readonly #obey: (order: Order) => Promise<Answer>;

  /** @param obey does what an order says. Throws what `UnixListener.listen` throws. */
  constructor(socket: string, obey: (order: Order) => Promise<Answer>) {
    this.#obey = obey;
    this.#listener = UnixListener.listen(controlPath(socket));
    this.#server = createServer((client) => void this.#serve(client));
    this.#server.maxConnections = CLIENTS_MAX;
    this.#server.listen({ fd: duplicateFd(this.#listener.fd) });
    this.#server.unref();
  }

  async #serve(client: Socket): Promise<void> {
    client.on('error', () => {});
    let read = 0;
    client.on('data', (bytes) => {
      read += bytes.length;
      if (read > LINE_BYTES_MAX) client.destroy();
    });
    for await (const line of createInterface(client)) {
      const order = parse(line);
      const answer = order === undefined ? { failed: 'this is no order' } : await this.#obey(order);
      client.end(`${JSON.stringify(answer)}\n`);
      return;
    }
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    this.#server.close();
  }
}

function parse(line: string): Order | undefined {
  try {
    const { order } = JSON.parse(line) as Partial<Order>;
    return order === 'upgrade' ? { order } : undefined;
  } catch {
    return undefined;
  }
}

/** Sends an order to the supervisor that serves at `socket`. Rejects when none does, or when it ends before it answers. */
export async function sendOrder(socket: string, order: Order): Promise<Answer> {
  const client = connect(controlPath(socket));
  await once(client, 'connect');
  client.write(`${JSON.stringify(order)}\n`);
  for await (const line of createInterface(client)) return JSON.parse(line) as Answer;
  throw new Error('it ended before it answered');
}
