// test/vhost-user/sequences: a front end's connection: what it sends, and the answers it waits for.
import { closeFd } from '../../../src/sys/libc.ts';
import { UnixSocket } from '../../../src/sys/unix-socket.ts';
import { eventually } from '../../../src/testing/raw-front-end.ts';
import { codeOf, decodeFields, encodeFields, type Fields, NEED_REPLY, nameOf } from './message-fields.ts';
import { MessageReader, type WireMessage } from './wire-message.ts';

const VERSION = 1;

export class VhostUserLink implements Disposable {
  readonly #reader: MessageReader;

  private constructor(socket: UnixSocket) {
    this.#reader = new MessageReader(socket);
  }

  /** Throws SystemError: nobody listens. */
  static connect(path: string): VhostUserLink {
    return new VhostUserLink(UnixSocket.connect(path));
  }

  /** The descriptors stay the caller's. */
  send(request: string, fields: Fields, fds: readonly number[], needsReply: boolean): void {
    const flags = VERSION | (needsReply ? NEED_REPLY : 0);
    this.#reader.send({ request: codeOf(request), flags, payload: encodeFields(request, false, fields), fds });
  }

  /** The answer to `request`. Throws when another comes, or the end of the connection. */
  async answer(request: string): Promise<Fields> {
    let message: WireMessage | undefined;
    await eventually(`an answer to ${request}`, () => {
      message ??= this.#reader.messages().next().value ?? undefined;
      return message !== undefined || this.#reader.isClosed;
    });
    if (message === undefined) throw new Error(`${request}: the back end closed the connection`);
    for (const fd of message.fds) closeFd(fd);
    if (nameOf(message.request) !== request) throw new Error(`${request}: answered with ${nameOf(message.request)}`);
    return decodeFields(request, true, message.payload);
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
