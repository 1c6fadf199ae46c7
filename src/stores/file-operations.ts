// stores: the operations of an image on a ring: transfers that go on where they ended early, flush, holes.
import { constants as os } from 'node:os';
import { errnoError, SystemError } from '../sys/libc.ts';
import type { OperationRing } from '../sys/operation-ring.ts';
import { StoreCompletion } from './completion.ts';
import type { OperationQueue, QueuedOperation } from './operation-queue.ts';

/** Whether the kernel asks for the same operation once more. */
function isInterrupted(result: number): boolean {
  return result === -os.errno.EAGAIN || result === -os.errno.EINTR;
}

/** An operation, and the completion that a store returns of it. */
abstract class Operation extends StoreCompletion implements QueuedOperation {
  protected readonly queue: OperationQueue;

  constructor(queue: OperationQueue) {
    super();
    this.queue = queue;
  }

  abstract put(ring: OperationRing): void;
  abstract completed(result: number): void;

  protected end(error?: SystemError): void {
    if (!this.isListenedTo) this.queue.leavesPromise();
    this.finish(error);
  }
}

/** Reads into `pieces`, or writes them, at `offset`. A transfer that the kernel ends early goes on where it ended. */
export class Transfer extends Operation {
  readonly #fd: number;
  readonly #isRead: boolean;
  #pieces: readonly Uint8Array[];
  #offset: number;

  constructor(queue: OperationQueue, fd: number, isRead: boolean, offset: number, pieces: readonly Uint8Array[]) {
    super(queue);
    this.#fd = fd;
    this.#isRead = isRead;
    this.#offset = offset;
    this.#pieces = pieces;
  }

  put(ring: OperationRing): void {
    const pieces = this.#pieces;
    const [first] = pieces as [Uint8Array];
    // `#pieces` keeps the bytes alive until `completed`.
    if (pieces.length === 1) {
      if (this.#isRead) ring.read(this.#fd, first, this.#offset, this);
      else ring.write(this.#fd, first, this.#offset, this);
    } else if (this.#isRead) ring.readv(this.#fd, pieces, this.#offset, this);
    else ring.writev(this.#fd, pieces, this.#offset, this);
  }

  completed(result: number): void {
    if (result > 0) {
      this.#pieces = withoutFirst(this.#pieces, result);
      this.#offset += result;
      if (this.#pieces.length === 0) return this.end();
    } else if (!isInterrupted(result)) {
      return this.end(this.#errorOf(result));
    }
    this.queue.start(this);
  }

  #errorOf(result: number): SystemError {
    const syscall = this.#isRead ? 'pread' : 'pwrite';
    return result === 0 ? new SystemError(syscall, 'EIO', 'the file became shorter') : errnoError(syscall, -result);
  }
}

/** The pieces behind the first `bytes` bytes. */
function withoutFirst(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Uint8Array;
    if (left < piece.length) return [piece.subarray(left), ...pieces.slice(i + 1)];
    left -= piece.length;
  }
  return [];
}

/** An operation of one step: fdatasync(2), fallocate(2). */
export class Step extends Operation {
  readonly #syscall: string;
  readonly #put: (ring: OperationRing, request: Step) => void;

  constructor(queue: OperationQueue, syscall: string, put: (ring: OperationRing, request: Step) => void) {
    super(queue);
    this.#syscall = syscall;
    this.#put = put;
  }

  put(ring: OperationRing): void {
    this.#put(ring, this);
  }

  completed(result: number): void {
    if (isInterrupted(result)) this.queue.start(this);
    else this.end(result < 0 ? errnoError(this.#syscall, -result) : undefined);
  }
}
