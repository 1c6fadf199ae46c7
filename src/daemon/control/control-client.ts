// control: a client of a control socket, for `belfry ctl` and `belfry upgrade`.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { RpcError, requestLine } from './json-rpc.ts';
import type { ControlEvent, MethodName, ParamsOf, ResultOf } from './methods.ts';

/** Returns the path of the control socket of a supervisor that serves at `socket`, unless --control says another. */
export function controlPath(socket: string): string {
  return `${socket}.control`;
}

interface Answer {
  readonly id?: number | null;
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
  readonly method?: string;
  readonly params?: unknown;
}

export class ControlClient implements Disposable {
  /** Called with each event, after `subscribe`. */
  onEvent: ((event: ControlEvent) => void) | undefined;
  /** Resolves when the daemon has ended the connection. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #hasEnded = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = this.#read();
  }

  /** Rejects with the error of connect(2): ENOENT, ECONNREFUSED, EACCES. */
  static async connect(path: string): Promise<ControlClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    return new ControlClient(socket);
  }

  /** Calls a method. Rejects with RpcError, or with an Error where the daemon ends before it answers. */
  async call<Name extends MethodName>(method: Name, params: ParamsOf<Name>): Promise<ResultOf<Name>> {
    if (this.#hasEnded) throw endedEarly();
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#socket.write(requestLine(id, method, params));
    return (await answer.promise) as ResultOf<Name>;
  }

  async #read(): Promise<void> {
    this.#socket.on('error', () => {});
    for await (const line of createInterface(this.#socket)) this.#take(line);
    this.#hasEnded = true;
    for (const { reject } of this.#waiting.values()) reject(endedEarly());
  }

  #take(line: string): void {
    let answer: Answer;
    try {
      answer = JSON.parse(line) as Answer;
    } catch {
      return;
    }
    if (answer.method === 'event') return this.onEvent?.(answer.params as ControlEvent);
    const { id, error, result } = answer;
    // Without an id it is about the connection.
    const waiting = typeof id === 'number' ? [id] : [...this.#waiting.keys()];
    for (const one of waiting) {
      const call = this.#waiting.get(one);
      this.#waiting.delete(one);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new RpcError(error.code, error.message));
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

function endedEarly(): Error {
  return new Error('the daemon ended before it answered');
}
