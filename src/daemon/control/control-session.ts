// control: one client of the control socket: its requests one after the other, its events, and the bounds of both.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { EVENTS } from '../../virtio/log.ts';
import { RateLimiter } from '../../virtio/rate-limiter.ts';
import { CODES, errorLine, notificationLine, parseRequest, RpcError, type RpcId, resultLine } from './json-rpc.ts';
import { type ControlEvent, isMethod, LEVELS, METHODS, type MethodName, type ParamsOf } from './methods.ts';
import { problemLine, problemsOf } from './schema.ts';

/** Does what a request says, whose params its schema allows. Rejects with one line for the client. */
export type ControlHandler = (method: MethodName, params: unknown) => unknown;

/** A longer line ends the connection. */
export const LINE_CHARS_MAX = 64 * 1024;
/** Events that wait for a client that does not read; further ones are counted. */
export const UNREAD_BYTES_MAX = 256 * 1024;
/** Requests a second of one client; further ones wait in its socket. */
const REQUESTS_A_SECOND = 1000;
/** How long the last line waits for its reader. */
const LAST_WORDS_MS = 1000;

export class ControlSession {
  readonly #socket: Socket;
  readonly #handle: ControlHandler;
  readonly #rate = new RateLimiter(REQUESTS_A_SECOND);
  #subscription: ParamsOf<'subscribe'> | undefined;
  #lost = 0;

  constructor(socket: Socket, handle: ControlHandler) {
    this.#socket = socket;
    this.#handle = handle;
    socket.setEncoding('utf8');
    // What a client that has left was to read.
    socket.on('error', () => {});
  }

  /** Serves requests until the client ends. Never rejects. */
  async run(): Promise<void> {
    try {
      for await (const line of linesOf(this.#socket)) {
        const waitMs = this.#rate.msUntil(1);
        if (waitMs > 0) await sleep(waitMs, undefined, { ref: false });
        this.#rate.take(1);
        if (line.trim() !== '') await this.#write(await this.#answer(line));
      }
      hangUp(this.#socket);
    } catch (error) {
      hangUp(this.#socket, error instanceof RpcError ? errorLine(null, error) : '');
    }
  }

  /** Waits until a client that is slow has read: until then no request of it is served. */
  async #write(line: string | undefined): Promise<void> {
    if (line === undefined || this.#socket.write(line)) return;
    const left = new AbortController();
    this.#socket.once('close', () => left.abort());
    await once(this.#socket, 'drain', { signal: left.signal });
  }

  async #answer(line: string): Promise<string | undefined> {
    let id: RpcId | undefined = null;
    try {
      const request = parseRequest(line);
      id = request.id;
      const result = await this.#serve(request.method, request.params);
      return id === undefined ? undefined : resultLine(id, result ?? {});
    } catch (error) {
      return id === undefined ? undefined : errorLine(id, error);
    }
  }

  #serve(method: string, params: unknown): unknown {
    if (!isMethod(method)) throw new RpcError(CODES.methodNotFound, `there is no method "${method}"`);
    const [problem] = problemsOf(METHODS[method].params, params);
    if (problem !== undefined) throw new RpcError(CODES.invalidParams, problemLine(problem));
    if (method === 'subscribe') this.#subscription = params as ParamsOf<'subscribe'>;
    else if (method === 'unsubscribe') this.#subscription = undefined;
    else return this.#handle(method, params);
    return {};
  }

  /** Sends an event if the client has subscribed to it. */
  publish(event: ControlEvent): void {
    if (this.#subscription === undefined || !this.#wants(event, this.#subscription)) return;
    if (this.#socket.writableLength > UNREAD_BYTES_MAX) {
      this.#lost++;
      return;
    }
    if (this.#lost > 0) {
      const count = this.#lost;
      const line = `${count} events were left out: this client did not read`;
      this.#lost = 0;
      this.#socket.write(notificationLine('event', { ...event, event: 'lost', level: 'warning', line, count }));
    }
    this.#socket.write(notificationLine('event', event));
  }

  #wants({ event, level }: ControlEvent, { level: least = 'info', events }: ParamsOf<'subscribe'>): boolean {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return false;
    return events === undefined || (Object.hasOwn(EVENTS, event) && events.some((one) => one === event));
  }

  end(): void {
    this.#socket.destroy();
  }
}

/**
 * Ends a connection after `last`. What the client still sends is thrown away meanwhile: a close with bytes that were not
 * read would reset the connection, and take `last` with it.
 */
export function hangUp(socket: Socket, last = ''): void {
  const timer = setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
  socket.end(last);
}

/** The whole lines of a client. Throws RpcError for one that is too long. */
async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let text = '';
  // Not destroyed at the end of its requests: it may still read answers.
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk;
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      if (end - from > LINE_CHARS_MAX) throw tooLong();
      yield text.slice(from, end);
      from = end + 1;
    }
    text = text.slice(from);
    if (text.length > LINE_CHARS_MAX) throw tooLong();
  }
}

function tooLong(): RpcError {
  return new RpcError(CODES.refused, `a line has at most ${LINE_CHARS_MAX} characters`);
}
