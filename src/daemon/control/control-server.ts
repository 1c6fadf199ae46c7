// control: the control socket: a UNIX socket for its owner alone, with a bounded number of clients.
import { createServer, type Server, type Socket } from 'node:net';
import { duplicateFd } from '../../sys/libc.ts';
import type { SocketFile } from '../../sys/socket-file.ts';
import { UnixListener } from '../../sys/unix-socket.ts';
import { type ControlHandler, ControlSession, hangUp } from './control-session.ts';
import { CODES, errorLine, RpcError } from './json-rpc.ts';
import type { ControlEvent } from './methods.ts';

export const CLIENTS_MAX = 16;

/** Listens until it is disposed of. It does not keep the process running. */
export class ControlServer implements Disposable {
  readonly #listener: UnixListener;
  readonly #server: Server;
  readonly #handle: ControlHandler;
  readonly #sessions = new Set<ControlSession>();

  /** Makes the socket, mode 0600. Throws what `UnixListener.listen` throws. */
  constructor(path: string, handle: ControlHandler) {
    this.#handle = handle;
    this.#listener = UnixListener.listen(path);
    this.#server = createServer({ allowHalfOpen: true }, (client) => void this.#serve(client));
    this.#server.listen({ fd: duplicateFd(this.#listener.fd) });
    this.#server.unref();
  }

  /** The socket's file, which another thread removes if it ends the process. */
  get file(): SocketFile | undefined {
    return this.#listener.file;
  }

  async #serve(client: Socket): Promise<void> {
    client.unref();
    const session = new ControlSession(client, this.#handle);
    if (this.#sessions.size >= CLIENTS_MAX) {
      const why = new RpcError(CODES.refused, `${CLIENTS_MAX} clients are connected, and that is the most`);
      return hangUp(client, errorLine(null, why));
    }
    this.#sessions.add(session);
    client.once('close', () => this.#sessions.delete(session));
    await session.run();
  }

  /** Sends an event to the clients that have subscribed to it. */
  publish(event: ControlEvent): void {
    for (const session of this.#sessions) session.publish(event);
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
    this.#server.close();
    for (const session of this.#sessions) session.end();
  }
}
