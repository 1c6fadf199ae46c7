// test/vhost-user/sequences: a proxy between a front end and a back end that records every message.
import { closeFd } from '../../../src/sys/libc.ts';
import { UnixListener, UnixSocket } from '../../../src/sys/unix-socket.ts';
import { DescriptorNames } from './descriptor-names.ts';
import { codeOf, decodeFields, NEED_REPLY, nameOf, REPLY } from './message-fields.ts';
import type { EventStep, SaidStep, Step } from './recording.ts';
import { MessageReader, type WireMessage } from './wire-message.ts';

const LOOK_MS = 1;
const QUIET_MS = 400;

export interface RecorderOptions {
  /** Where the front end connects. */
  readonly path: string;
  /** Where the back end listens. */
  readonly backEnd: string;
  /** Protocol features that the front end is shown. The back end has all of them but those of STAND_IN. */
  readonly offered: bigint;
}

/** STATUS and RESET_DEVICE: bits the recorder adds, whose messages it answers itself. */
const STAND_IN = (1n << 16n) | (1n << 13n);
const STAND_IN_REQUESTS = ['SET_STATUS', 'GET_STATUS', 'RESET_DEVICE'];

export class Recorder implements Disposable {
  readonly steps: Step[] = [];
  readonly #options: RecorderOptions;
  readonly #names = new DescriptorNames();
  #listener: UnixListener | undefined;
  #links: Link[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lastMs = performance.now();

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.listen();
  }

  /** Takes connections; from the start, and again after `hangUp`. */
  listen(): void {
    this.#listener = UnixListener.listen(this.#options.path);
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Takes no more connections and ends those there are, as a back end that ends. */
  hangUp(): void {
    clearInterval(this.#timer);
    this.#listener?.[Symbol.dispose]();
    for (const link of this.#links) this.#end(link, 'closed by the back end');
  }

  get isConnected(): boolean {
    return this.#links.length > 0;
  }

  note(event: EventStep['event'], text?: string): void {
    this.#lastMs = performance.now();
    this.steps.push(text === undefined ? { event } : { event, text });
  }

  /** Waits until no message has been sent for a while. */
  async quiet(): Promise<void> {
    // Time: silence is listened to.
    while (performance.now() - this.#lastMs < QUIET_MS) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  #look(): void {
    const client = this.#listener?.accept();
    if (client !== undefined) {
      this.note('connected');
      this.#links.push(new Link(client, UnixSocket.connect(this.#options.backEnd)));
    }
    for (const link of this.#links) this.#pass(link);
  }

  #pass(link: Link): void {
    for (const message of link.front.messages()) {
      this.#said('front end', message);
      this.#toBack(link, message);
      closeAll(message);
    }
    for (const message of link.back.messages()) {
      const shown = this.#toFront(message);
      this.#said('back end', shown);
      link.front.send(shown);
      closeAll(message);
    }
    if (link.front.isClosed) this.#end(link, 'closed by the front end');
    else if (link.back.isClosed) this.#end(link, 'closed by the back end');
  }

  #said(from: SaidStep['from'], { request, flags, payload, fds }: WireMessage): void {
    this.#lastMs = performance.now();
    const name = nameOf(request);
    const names = [(flags & REPLY) !== 0 && 'REPLY', (flags & NEED_REPLY) !== 0 && 'NEED_REPLY'] as const;
    const said = names.filter((flag) => flag !== false);
    const fields = decodeFields(name, from === 'back end', payload);
    this.steps.push({
      from,
      request: name,
      ...(said.length > 0 && { flags: said }),
      ...(payload.length > 0 && { payload: fields }),
      ...(fds.length > 0 && { fds: fds.map((fd) => this.#names.name(fd)) }),
    });
  }

  #toBack(link: Link, message: WireMessage): void {
    const name = nameOf(message.request);
    if (name === 'SET_PROTOCOL_FEATURES') return link.back.send(withU64(message, (value) => value & ~STAND_IN));
    if (!STAND_IN_REQUESTS.includes(name)) return link.back.send(message);
    if (name === 'SET_STATUS') link.status = u64Of(message);
    if (name !== 'GET_STATUS' && (message.flags & NEED_REPLY) === 0) return;
    const value = name === 'GET_STATUS' ? link.status : 0n;
    const answer = { request: message.request, flags: 1 | REPLY, payload: u64Bytes(value), fds: [] };
    this.#said('back end', answer);
    link.front.send(answer);
  }

  /** The reply that the front end gets instead of the back end's. */
  #toFront(message: WireMessage): WireMessage {
    if (message.request !== codeOf('GET_PROTOCOL_FEATURES')) return message;
    return withU64(message, (value) => (value | STAND_IN) & this.#options.offered);
  }

  #end(link: Link, event: EventStep['event']): void {
    this.note(event);
    this.#links = this.#links.filter((other) => other !== link);
    link[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.hangUp();
  }
}

class Link implements Disposable {
  readonly front: MessageReader;
  readonly back: MessageReader;
  status = 0n;

  constructor(front: UnixSocket, back: UnixSocket) {
    this.front = new MessageReader(front);
    this.back = new MessageReader(back);
  }

  [Symbol.dispose](): void {
    this.front[Symbol.dispose]();
    this.back[Symbol.dispose]();
  }
}

function closeAll({ fds }: WireMessage): void {
  for (const fd of fds) closeFd(fd);
}

function u64Of({ payload }: WireMessage): bigint {
  return new DataView(payload.buffer, payload.byteOffset).getBigUint64(0, true);
}

function u64Bytes(value: bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new BigUint64Array([value]).buffer);
}

function withU64(message: WireMessage, change: (value: bigint) => bigint): WireMessage {
  return { ...message, payload: u64Bytes(change(u64Of(message))) };
}
