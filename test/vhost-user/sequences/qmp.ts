// test/vhost-user/sequences: QEMU's monitor (QMP): commands, their answers, and events.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

export class Qmp implements Disposable {
  readonly #socket: Socket;
  readonly #waiting: ((reply: Reply) => void)[] = [];
  readonly #events: string[] = [];
  #onEvent = (): void => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => this.#receive(JSON.parse(line) as Reply));
    // QEMU that ends does not say goodbye, nor always answer the command to.
    for (const emitter of [socket, lines]) emitter.on('error', () => {});
    socket.once('close', () => {
      for (const resolve of this.#waiting.splice(0)) resolve({ return: {} });
    });
  }

  /** Connects to a monitor that listens at `path` and leaves its greeting behind. Rejects when nobody listens. */
  static async connect(path: string): Promise<Qmp> {
    const socket = connect(path);
    await once(socket, 'connect');
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  #receive(reply: Reply): void {
    if (reply.event !== undefined) {
      this.#events.push(reply.event);
      this.#onEvent();
    } else if ('return' in reply || reply.error !== undefined) this.#waiting.shift()?.(reply);
  }

  /** Gives what the command returns. Rejects with QEMU's own words. */
  async execute(command: string, words: object = {}): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<Reply>();
    this.#waiting.push(resolve);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: words })}\n`);
    const reply = await promise;
    if (reply.error !== undefined) throw new Error(reply.error.desc);
    return reply.return;
  }

  /** Waits for an event, which may have come before. */
  async event(name: string): Promise<void> {
    while (!this.#events.includes(name)) {
      await new Promise<void>((resolve) => {
        this.#onEvent = resolve;
      });
    }
    this.#events.splice(this.#events.indexOf(name), 1);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}
