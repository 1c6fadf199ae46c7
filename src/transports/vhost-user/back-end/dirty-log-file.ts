// vhost-user/back-end: the file of a session in which written pages are marked while the front end migrates its guest.
import { sealShrink } from '../../../sys/memfd.ts';
import { closeReceived } from '../../../sys/received-fd.ts';
import { dirtyLogBytes } from '../../../virtio/dirty-log.ts';
import type { DirtyLogPart, SharedRegion } from '../../queue/queue-host.ts';
import { decodeLog, type Message } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { memoryStatus } from './guest-regions.ts';

/** The log of 16 TiB of guest memory. */
const LOG_BYTES_MAX = 512 * 2 ** 20;

/** Counts over all sessions of this process, so that an id is never reused. */
let lastId = 0;

/** The log of SET_LOG_BASE. Owns its descriptor. */
export class DirtyLogFile implements Disposable {
  readonly part: DirtyLogPart;

  /**
   * Takes over the descriptor of SET_LOG_BASE. Throws ProtocolError where it is no memory or too short; the message
   * then keeps it.
   */
  constructor(message: Message) {
    const refused = (why: string): ProtocolError => new ProtocolError('SET_LOG_BASE', why);
    const { sizeBytes, fileOffset } = decodeLog(message);
    const [fd] = message.fds;
    if (fd === undefined || message.fds.length > 1)
      throw refused(`${message.fds.length} descriptors, one belongs to it`);
    const { size } = memoryStatus('SET_LOG_BASE', fd, false);
    if (sizeBytes === 0 || sizeBytes > LOG_BYTES_MAX) throw refused(`a log of ${sizeBytes} bytes`);
    if (fileOffset + sizeBytes > size)
      throw refused(`a log that ends at byte ${fileOffset + sizeBytes} of a file of ${size}`);
    // Where it cannot be sealed, the front end can end this process, as with its memory.
    sealShrink(fd);
    message.fds.length = 0;
    this.part = { id: ++lastId, fd, fileOffset, sizeBytes };
  }

  /** Throws ProtocolError where a page of guest memory has no bit: its change would be lost at the destination. */
  check(messageName: string, regions: readonly SharedRegion[]): void {
    const end = Math.max(0, ...regions.map(({ guestAddress, sizeBytes }) => guestAddress + sizeBytes));
    const wanted = dirtyLogBytes(end);
    if (wanted > this.part.sizeBytes)
      throw new ProtocolError(messageName, `a dirty log of ${this.part.sizeBytes} bytes; the memory takes ${wanted}`);
  }

  [Symbol.dispose](): void {
    closeReceived(this.part.fd);
  }
}
