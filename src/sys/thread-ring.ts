// sys: many operations on files at a time without io_uring(7): a few threads, each with one system call at a time.
import { constants as os } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { EventFd } from './event-fd.ts';
import { IOVEC_BYTES, writeIovecs } from './iovec.ts';
import type { IoRequest, OperationRing } from './operation-ring.ts';
import { Scratch } from './scratch.ts';
import { moduleBeside, startThread } from './thread.ts';
import { FIELD, OPERATION, ThreadRingMemory, type ThreadRingSetup, WORD } from './thread-ring-words.ts';

const WORKER = moduleBeside('./thread-ring-worker', import.meta.url);
/** Pieces of one operation: of more, the first are moved, and the owner goes on with the others. */
const PIECES_MAX = 64;
const VECTOR_BYTES = PIECES_MAX * IOVEC_BYTES;

/**
 * Runs operations on `threads` threads. A thread waits without processor time while there are none. Its descriptor is
 * an eventfd that is signalled once until the next `reap`.
 *
 * @example
 * using ring = new ThreadRing({ entries: 64, threads: 4 });
 * ring.read(fd, bytes, 0, { completed: (result) => console.log(result) });
 * ring.submit(1); // waits for one completion
 * ring.reap();
 */
export class ThreadRing implements OperationRing {
  readonly fd: number;
  readonly #event = EventFd.create();
  readonly #entries: number;
  readonly #memory: ThreadRingMemory;
  readonly #vectors: Scratch;
  readonly #workers: readonly Worker[];
  readonly #requests: (IoRequest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  /** Submitted, and staged behind it. */
  #tail = 0;
  #staged = 0;
  #doneHead = 0;

  /** @param entries operations at a time at most, a power of two. */
  constructor({ entries, threads }: { readonly entries: number; readonly threads: number }) {
    this.fd = this.#event.fd;
    this.#entries = entries;
    this.#memory = new ThreadRingMemory(entries);
    this.#vectors = new Scratch(entries * VECTOR_BYTES);
    for (let slot = entries - 1; slot >= 0; slot--) this.#freeSlots.push(slot);
    const setup: ThreadRingSetup = {
      buffer: this.#memory.words.buffer,
      entries,
      fd: this.fd,
      vectors: this.#vectors.address,
      vectorBytes: VECTOR_BYTES,
    };
    this.#workers = Array.from({ length: threads }, () => startThread(WORKER, { workerData: setup }));
    for (const worker of this.#workers) worker.unref();
  }

  get room(): number {
    return this.#freeSlots.length;
  }

  get staged(): number {
    return this.#staged;
  }

  get inFlight(): number {
    return this.#entries - this.#freeSlots.length;
  }

  read(fd: number, into: Uint8Array, offset: number, request: IoRequest): void {
    this.#transfer(OPERATION.read, fd, [into], offset, request);
  }

  write(fd: number, from: Uint8Array, offset: number, request: IoRequest): void {
    this.#transfer(OPERATION.write, fd, [from], offset, request);
  }

  readv(fd: number, into: readonly Uint8Array[], offset: number, request: IoRequest): void {
    this.#transfer(OPERATION.read, fd, into, offset, request);
  }

  writev(fd: number, from: readonly Uint8Array[], offset: number, request: IoRequest): void {
    this.#transfer(OPERATION.write, fd, from, offset, request);
  }

  #transfer(operation: number, fd: number, pieces: readonly Uint8Array[], offset: number, request: IoRequest): void {
    const slot = this.#put(operation, fd, offset, Math.min(pieces.length, PIECES_MAX), request);
    writeIovecs(this.#vectors, pieces.slice(0, PIECES_MAX), slot * PIECES_MAX);
  }

  fdatasync(fd: number, request: IoRequest): void {
    this.#put(OPERATION.fdatasync, fd, 0, 0, request);
  }

  fallocate(fd: number, mode: number, offset: number, length: number, request: IoRequest): void {
    const slot = this.#put(OPERATION.fallocate, fd, offset, mode, request);
    this.#memory.setField(slot, FIELD.length, length);
  }

  /** Puts an operation behind those that are staged. Returns its slot. */
  #put(operation: number, fd: number, offset: number, count: number, request: IoRequest): number {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) throw new Error(`${this.#entries} operations are in flight`);
    const memory = this.#memory;
    this.#requests[slot] = request;
    memory.setField(slot, FIELD.operation, operation);
    memory.setField(slot, FIELD.fd, fd);
    memory.setField(slot, FIELD.offset, offset);
    memory.setField(slot, FIELD.count, count);
    Atomics.store(memory.queued, (this.#tail + this.#staged) & memory.mask, slot);
    this.#staged++;
    return slot;
  }

  /** Cancels what no thread has begun; a system call that waits cannot be cancelled. */
  cancelAll(): void {
    this.submit();
    for (let slot = this.#memory.take(); slot !== undefined; slot = this.#memory.take())
      this.#complete(slot, -os.errno.ECANCELED);
  }

  submit(waitFor = 0): void {
    const { words } = this.#memory;
    if (this.#staged > 0) {
      const count = this.#staged;
      this.#tail = (this.#tail + count) | 0;
      this.#staged = 0;
      // A thread reads the fields of an operation after the tail.
      Atomics.store(words, WORD.tail, this.#tail);
      this.#wake(count);
    }
    const enough = (this.#doneHead + waitFor) | 0;
    for (;;) {
      const completed = Atomics.load(words, WORD.completed);
      if (((enough - completed) | 0) <= 0) return;
      Atomics.wait(words, WORD.completed, completed);
    }
  }

  /** Wakes `count` of the threads that wait. */
  #wake(count: number): void {
    const { words } = this.#memory;
    Atomics.add(words, WORD.wakeUps, 1);
    if (Atomics.load(words, WORD.waiting) > 0) Atomics.notify(words, WORD.wakeUps, count);
  }

  woken(): void {
    this.#event.clear();
  }

  reap(): number {
    const { words, done, mask } = this.#memory;
    // Before the completions are read: one that comes later signals again.
    if (Atomics.load(words, WORD.signalled) !== 0) Atomics.store(words, WORD.signalled, 0);
    let reaped = 0;
    for (;;) {
      const slot = Atomics.load(done, this.#doneHead & mask) - 1;
      if (slot < 0) return reaped;
      Atomics.store(done, this.#doneHead & mask, 0);
      this.#doneHead = (this.#doneHead + 1) | 0;
      reaped++;
      this.#complete(slot, this.#memory.field(slot, FIELD.result));
    }
  }

  #complete(slot: number, result: number): void {
    const request = this.#requests[slot] as IoRequest;
    this.#requests[slot] = undefined;
    this.#freeSlots.push(slot);
    request.completed(result);
  }

  [Symbol.dispose](): void {
    this.cancelAll();
    while (this.inFlight > 0) {
      this.submit(1);
      this.reap();
    }
    // The threads end by themselves; none touches the memory of an operation any more.
    Atomics.store(this.#memory.words, WORD.stop, 1);
    this.#wake(this.#workers.length);
    this.#event[Symbol.dispose]();
    this.#vectors[Symbol.dispose]();
  }
}
