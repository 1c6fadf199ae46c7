// testing: a vhost-user front end that sends any message, valid or not, and never blocks its thread.
import { closeFd, SystemError } from '../sys/libc.ts';
import { UnixSocket } from '../sys/unix-socket.ts';
import {
  decodeHeader,
  encodeMessage,
  encodeRegion,
  encodeU64,
  type MemoryRegionMessage,
  type Message,
  REGION_BYTES,
} from '../transports/vhost-user/protocol/message.ts';
import { HEADER_BYTES, NEED_REPLY, REPLY, Request, requestName } from '../transports/vhost-user/protocol/spec.ts';
import { eventually } from './patience.ts';

export { eventually } from './patience.ts';

/** A message to send. Fields that are left out are empty. */
export interface RawMessage {
  readonly request: number;
  readonly payload?: Uint8Array;
  readonly fds?: readonly number[];
  /** Flags besides the version. */
  readonly flags?: number;
}

const NOTHING = new Uint8Array(0);

/** One end of a vhost-user connection. */
export class RawFrontEnd implements Disposable {
  readonly #socket: UnixSocket;

  private constructor(socket: UnixSocket) {
    this.#socket = socket;
  }

  /** Connects. Throws SystemError: nothing listens, or the backlog is full. */
  static connect(path: string): RawFrontEnd {
    return new RawFrontEnd(UnixSocket.connect(path));
  }

  /** Takes over the other end of a socket that a back end was sent with SET_BACKEND_REQ_FD. */
  static adopt(fd: number): RawFrontEnd {
    return new RawFrontEnd(new UnixSocket(fd));
  }

  /** Sends any bytes, whole messages or not. The caller keeps the descriptors. Throws SystemError. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#socket.send(bytes, fds);
  }

  send({ request, payload = NOTHING, fds = [], flags = 0 }: RawMessage): void {
    this.sendBytes(encodeMessage(request, flags, payload), fds);
  }

  /** Sends a message and returns its answer. Rejects when another message comes, or none. */
  async ask(message: RawMessage): Promise<Message> {
    this.send(message);
    return this.answer(message.request);
  }

  /** Waits for the answer to a message that was sent. */
  async answer(request: number): Promise<Message> {
    const message = await this.receive();
    const name = requestName(request);
    if (message === undefined) throw new Error(`${name}: the back end closed the connection`);
    if (message.request === request && message.flags === (1 | REPLY)) return message;
    throw new Error(`${name}: answered with ${requestName(message.request)}, flags 0x${message.flags.toString(16)}`);
  }

  async askU64(message: RawMessage): Promise<bigint> {
    const { payload } = await this.ask(message);
    if (payload.byteLength !== 8)
      throw new Error(`${requestName(message.request)}: ${payload.byteLength} bytes, not 8`);
    return payload.getBigUint64(0, true);
  }

  /** Sends a message without an answer of its own, with NEED_REPLY; returns the acknowledgement: 0 is success. */
  acknowledged(message: RawMessage): Promise<bigint> {
    return this.askU64({ ...message, flags: (message.flags ?? 0) | NEED_REPLY });
  }

  /** Sends messages and waits until the back end has handled the last, by a request after it. */
  async settle(...messages: readonly RawMessage[]): Promise<void> {
    for (const message of messages) this.send(message);
    await this.ask({ request: Request.GET_FEATURES });
  }

  /** Returns the next message, or undefined when the back end has closed the connection. */
  async receive(): Promise<Message | undefined> {
    const fds: number[] = [];
    const header = await this.#read(HEADER_BYTES, fds);
    if (header === undefined) return undefined;
    const { request, flags, size } = decodeHeader(new DataView(header));
    const payload = await this.#read(size, fds);
    if (payload === undefined) throw new Error(`${requestName(request)}: closed within the answer`);
    return { request, flags, payload: new DataView(payload), fds };
  }

  async #read(sizeBytes: number, fds: number[]): Promise<ArrayBuffer | undefined> {
    const bytes = new Uint8Array(sizeBytes);
    let done = 0;
    let ended = false;
    await eventually('a message of the back end', () => {
      while (done < sizeBytes && !ended) {
        const count = this.#receiveSome(bytes.subarray(done), fds);
        if (count === undefined) return false;
        done += count;
        ended = count === 0;
      }
      return true;
    });
    if (ended && done > 0) throw new Error(`the back end closed after ${done} bytes of a message`);
    return ended ? undefined : bytes.buffer;
  }

  #receiveSome(into: Uint8Array, fds: number[]): number | undefined {
    try {
      return this.#socket.receive(into, fds);
    } catch (error) {
      // The back end closed the connection with unread bytes: treated as the end.
      if (error instanceof SystemError && error.code === 'ECONNRESET') return 0;
      throw error;
    }
  }

  /** Whether there is nothing to read now, not even the end of the connection. */
  isSilent(): boolean {
    return this.#socket.receive(new Uint8Array(1), []) === undefined;
  }

  /** Discards what there is to read now. Returns false when the back end has closed the connection. */
  skim(): boolean {
    const fds: number[] = [];
    const bytes = new Uint8Array(4096);
    let count: number | undefined;
    do count = this.#receiveSome(bytes, fds);
    while (count !== undefined && count > 0);
    for (const fd of fds) closeFd(fd);
    return count === undefined;
  }

  /** Waits until the back end closes the connection; discards messages before that. */
  async closedByPeer(): Promise<void> {
    for (let next = await this.receive(); next !== undefined; next = await this.receive())
      for (const fd of next.fds) closeFd(fd);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** A memory region and its descriptor. */
export interface RawRegion extends MemoryRegionMessage {
  readonly fd: number;
}

export function setMemTable(regions: readonly RawRegion[]): RawMessage {
  const payload = new Uint8Array(8 + REGION_BYTES * regions.length);
  new DataView(payload.buffer).setUint32(0, regions.length, true);
  regions.forEach((region, i) => {
    payload.set(encodeRegion(region), 8 + REGION_BYTES * i);
  });
  return { request: Request.SET_MEM_TABLE, payload, fds: regions.map(({ fd }) => fd) };
}

export function addMemReg(region: RawRegion): RawMessage {
  return { request: Request.ADD_MEM_REG, payload: padded(region), fds: [region.fd] };
}

export function remMemReg(region: MemoryRegionMessage): RawMessage {
  return { request: Request.REM_MEM_REG, payload: padded(region) };
}

function padded(region: MemoryRegionMessage): Uint8Array {
  const payload = new Uint8Array(8 + REGION_BYTES);
  payload.set(encodeRegion(region), 8);
  return payload;
}

/** A message whose payload is one number: SET_FEATURES, SET_PROTOCOL_FEATURES, SET_STATUS. */
export function setU64(request: number, value: bigint): RawMessage {
  return { request, payload: encodeU64(value) };
}
