// stores: the operations of an image through io_uring(7): transfers that go on where they ended early, flush, holes.
import { constants as os } from 'node:os';
import { addressOf } from '../sys/address.ts';
import type { IoUring } from '../sys/io-uring.ts';
import { IOV_MAX } from '../sys/iovec.ts';
import { errnoError, SystemError } from '../sys/libc.ts';
import type { UringOperation, UringQueue } from './uring-queue.ts';

/** Takes the end of an operation; without an error it succeeded. */
export type Done = (error?: SystemError) => void;

/** Whether the kernel asks for the same operation once more. */
function isInterrupted(result: number): boolean {
  return result === -os.errno.EAGAIN || result === -os.errno.EINTR;
}

/** Reads into `pieces`, or writes them, at `offset`. A transfer that the kernel ends early goes on where it ended. */
export class Transfer implements UringOperation {
  readonly #fd: number;
  readonly #isRead: boolean;
  readonly #done: Done;
  readonly #queue: UringQueue;
  #pieces: readonly Uint8Array[];
  #offset: number;

  constructor(
    queue: UringQueue,
    fd: number,
    isRead: boolean,
    offset: number,
    pieces: readonly Uint8Array[],
    done: Done,
  ) {
    this.#queue = queue;
    this.#fd = fd;
    this.#isRead = isRead;
    this.#offset = offset;
    this.#pieces = pieces;
    this.#done = done;
  }

  put(ring: IoUring, queue: UringQueue): void {
    const [first] = this.#pieces as [Uint8Array];
    if (this.#pieces.length === 1) {
      // SAFETY: `#pieces` keeps the bytes alive until `completed`; the kernel stays within their length.
      if (this.#isRead) ring.read(this.#fd, addressOf(first), first.length, this.#offset, this);
      else ring.write(this.#fd, addressOf(first), first.length, this.#offset, this);
      return;
    }
    const batch = this.#pieces.length <= IOV_MAX ? this.#pieces : this.#pieces.slice(0, IOV_MAX);
    // SAFETY: as above; the vector is the queue's until the operation is submitted, and the kernel copies it then.
    const vector = queue.vector(batch);
    if (this.#isRead) ring.readv(this.#fd, vector, batch.length, this.#offset, this);
    else ring.writev(this.#fd, vector, batch.length, this.#offset, this);
  }

  completed(result: number): void {
    if (result > 0) {
      this.#pieces = withoutFirst(this.#pieces, result);
      this.#offset += result;
      if (this.#pieces.length === 0) return this.#done();
    } else if (!isInterrupted(result)) {
      return this.#done(this.#errorOf(result));
    }
    this.#queue.start(this);
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
export class Step implements UringOperation {
  readonly #syscall: string;
  readonly #queue: UringQueue;
  readonly #put: (ring: IoUring, request: Step) => void;
  readonly #done: Done;

  constructor(queue: UringQueue, syscall: string, put: (ring: IoUring, request: Step) => void, done: Done) {
    this.#queue = queue;
    this.#syscall = syscall;
    this.#put = put;
    this.#done = done;
  }

  put(ring: IoUring): void {
    this.#put(ring, this);
  }

  completed(result: number): void {
    if (isInterrupted(result)) this.#queue.start(this);
    else this.#done(result < 0 ? errnoError(this.#syscall, -result) : undefined);
  }
}
