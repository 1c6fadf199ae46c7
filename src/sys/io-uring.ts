// sys: io_uring(7): many requests with one system call; completions are read from a ring in memory.
import { addressOf } from './address.ts';
import * as uring from './constants.ts';
import { enterRing, type RingLayout, registerFile, setUpRing, unregisterFiles } from './io-uring-setup.ts';
import { IOV_MAX, IOVEC_BYTES, writeIovecs } from './iovec.ts';
import { closeFd } from './libc.ts';
import { Mapping } from './mapping.ts';
import type { IoRequest, OperationRing } from './operation-ring.ts';
import { Scratch } from './scratch.ts';

// struct io_uring_sqe as 32-bit words. The first word is { u8 opcode; u8 flags; u16 ioprio }.
const SQE_WORDS = 16;
const SQE = { opcode: 0, fd: 1, offset: 2, address: 4, length: 6, opFlags: 7, userData: 8 } as const;
// struct io_uring_cqe as 32-bit words: { u64 user_data; s32 res; u32 flags }.
const CQE_WORDS = 4;
const CQE_RESULT = 2;

/** Flags of the submission ring: completions wait until the kernel is entered. */
const NEEDS_KERNEL = uring.IORING_SQ_TASKRUN | uring.IORING_SQ_CQ_OVERFLOW;

/** The user data of an operation whose completion concerns no request. */
const NO_REQUEST = 0xffff_ffff;

/** Entries of iovecs for operations that are submitted together. The kernel copies them when it takes the operation. */
const VECTOR_ENTRIES = 4 * IOV_MAX;

/**
 * One io_uring of one thread. Operations are put into the submission ring, all of them are submitted with one system
 * call, and completions are taken from the completion ring without one. At most `entries` operations at a time.
 *
 * @example
 * using ring = IoUring.create(64);
 * ring.read(fd, bytes, 0, { completed: (result) => console.log(result) });
 * ring.submit(1); // waits for one completion
 * ring.reap();
 */
export class IoUring implements OperationRing {
  /** Readable in an epoll set while there are completions. */
  readonly fd: number;
  /** Operations at a time at most. */
  readonly entries: number;
  readonly #rings: Mapping;
  readonly #sqeMapping: Mapping;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #sqes: Uint32Array<ArrayBuffer>;
  readonly #cqes: Int32Array<ArrayBuffer>;
  readonly #layout: RingLayout;
  readonly #sqMask: number;
  readonly #cqMask: number;
  /** By slot: what the operation is for. The slot is its user data. */
  readonly #requests: (IoRequest | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  #tail = 0;
  #submitted = 0;
  #inFlight = 0;
  readonly #vectors = new Scratch(VECTOR_ENTRIES * IOVEC_BYTES);
  #vectorsUsed = 0;
  /** The registered file, whose index is 0. */
  #fixedFd: number | undefined;

  /**
   * Creates a ring for `entries` operations, a power of two. Throws SystemError: ENOSYS, EPERM where io_uring is
   * missing or forbidden, EOPNOTSUPP where it lacks an operation.
   */
  static create(entries: number): IoUring {
    const layout = setUpRing(entries);
    try {
      return new IoUring(layout);
    } catch (error) {
      closeFd(layout.fd);
      throw error;
    }
  }

  private constructor(layout: RingLayout) {
    const { fd, sqEntries, cqEntries, sqArray, cqes } = layout;
    this.fd = fd;
    this.entries = sqEntries;
    this.#layout = layout;
    const ringBytes = 4 * Math.max(sqArray + sqEntries, cqes + CQE_WORDS * cqEntries);
    this.#rings = Mapping.ofFile(fd, ringBytes, { offset: uring.IORING_OFF_SQ_RING });
    try {
      this.#sqeMapping = Mapping.ofFile(fd, 4 * SQE_WORDS * sqEntries, { offset: uring.IORING_OFF_SQES });
    } catch (error) {
      this.#rings[Symbol.dispose]();
      throw error;
    }
    this.#words = new Uint32Array(this.#rings.bytes.buffer);
    this.#cqes = new Int32Array(this.#rings.bytes.buffer, 4 * cqes, CQE_WORDS * cqEntries);
    this.#sqes = new Uint32Array(this.#sqeMapping.bytes.buffer);
    this.#sqMask = sqEntries - 1;
    this.#cqMask = cqEntries - 1;
    // Entry i of the submission ring always is SQE i.
    for (let i = 0; i < sqEntries; i++) this.#words[sqArray + i] = i;
    for (let slot = sqEntries - 1; slot >= 0; slot--) this.#freeSlots.push(slot);
  }

  /** Operations that were put into the ring and have not completed. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** How many more operations it takes now. */
  get room(): number {
    return this.#freeSlots.length;
  }

  /** Operations that wait for `submit`. */
  get staged(): number {
    return (this.#tail - this.#submitted) >>> 0;
  }

  /** Saves a lookup of `fd` for each operation with it. Without the kernel's support it does nothing. */
  registerFile(fd: number): void {
    if (registerFile(this.fd, fd)) this.#fixedFd = fd;
  }

  /** pread(2). There must be `room`. */
  read(fd: number, into: Uint8Array, offset: number, request: IoRequest): void {
    // SAFETY: the request keeps the bytes alive until `completed`; the kernel stays within their length.
    this.#put(uring.IORING_OP_READ, fd, offset, addressOf(into), into.length, 0, this.#slotOf(request));
  }

  /** pwrite(2). There must be `room`. */
  write(fd: number, from: Uint8Array, offset: number, request: IoRequest): void {
    // SAFETY: as in `read`; the kernel only reads them.
    this.#put(uring.IORING_OP_WRITE, fd, offset, addressOf(from), from.length, 0, this.#slotOf(request));
  }

  /** preadv(2) into the first IOV_MAX pieces at most. There must be `room`. */
  readv(fd: number, into: readonly Uint8Array[], offset: number, request: IoRequest): void {
    const count = Math.min(into.length, IOV_MAX);
    const vector = this.#vector(into, count);
    this.#put(uring.IORING_OP_READV, fd, offset, vector, count, 0, this.#slotOf(request));
  }

  /** pwritev(2) of the first IOV_MAX pieces at most. There must be `room`. */
  writev(fd: number, from: readonly Uint8Array[], offset: number, request: IoRequest): void {
    const count = Math.min(from.length, IOV_MAX);
    const vector = this.#vector(from, count);
    this.#put(uring.IORING_OP_WRITEV, fd, offset, vector, count, 0, this.#slotOf(request));
  }

  /** Writes struct iovecs for an operation that is put now. Returns their address. */
  #vector(pieces: readonly Uint8Array[], count: number): number {
    if (this.#vectorsUsed + count > VECTOR_ENTRIES) this.submit();
    const first = this.#vectorsUsed;
    this.#vectorsUsed += count;
    // SAFETY: the request keeps the pieces alive until `completed`; the entries stay until the operation is submitted.
    writeIovecs(this.#vectors, count === pieces.length ? pieces : pieces.slice(0, count), first);
    return Number(this.#vectors.address) + first * IOVEC_BYTES;
  }

  /** fdatasync(2): covers the writes that have completed. There must be `room`. */
  fdatasync(fd: number, request: IoRequest): void {
    this.#put(uring.IORING_OP_FSYNC, fd, 0, 0, 0, uring.IORING_FSYNC_DATASYNC, this.#slotOf(request));
  }

  /** fallocate(2). There must be `room`. */
  fallocate(fd: number, mode: number, offset: number, length: number, request: IoRequest): void {
    // The operation has its length in `addr`, and its mode in `len`.
    this.#put(uring.IORING_OP_FALLOCATE, fd, offset, length, mode, 0, this.#slotOf(request));
  }

  /** Asks the kernel to cancel all operations: they complete with -ECANCELED, or as if nothing had been asked. */
  cancelAll(): void {
    const everything = uring.IORING_ASYNC_CANCEL_ALL | uring.IORING_ASYNC_CANCEL_ANY;
    this.#put(uring.IORING_OP_ASYNC_CANCEL, -1, 0, 0, 0, everything, NO_REQUEST);
    this.submit();
  }

  /** Reserves a slot for a request. */
  #slotOf(request: IoRequest): number {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) throw new Error(`io_uring: ${this.entries} operations are in flight`);
    this.#requests[slot] = request;
    this.#inFlight++;
    return slot;
  }

  #put(
    opcode: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    opFlags: number,
    userData: number,
  ): void {
    // The kernel has not taken all SQEs yet, though some of their slots are free again.
    if (this.staged === this.entries) this.submit();
    const at = (this.#tail & this.#sqMask) * SQE_WORDS;
    const sqes = this.#sqes;
    const isFixed = fd === this.#fixedFd;
    sqes[at + SQE.opcode] = isFixed ? opcode | (uring.IOSQE_FIXED_FILE << 8) : opcode;
    sqes[at + SQE.fd] = isFixed ? 0 : fd;
    sqes[at + SQE.offset] = offset;
    sqes[at + SQE.offset + 1] = offset / 2 ** 32;
    sqes[at + SQE.address] = address;
    sqes[at + SQE.address + 1] = address / 2 ** 32;
    sqes[at + SQE.length] = length;
    sqes[at + SQE.opFlags] = opFlags;
    sqes[at + SQE.userData] = userData;
    // The other words are zero: the kernel writes none of them.
    this.#tail = (this.#tail + 1) >>> 0;
    // The kernel reads the entry after it has read the tail.
    Atomics.store(this.#words, this.#layout.sqTail, this.#tail);
  }

  /**
   * Submits what was put into the ring, and waits until there are at least `waitFor` completions. One system call; none
   * if there is nothing to do. Throws SystemError.
   */
  submit(waitFor = 0): void {
    while (this.staged > 0 || waitFor > 0) {
      const taken = enterRing(this.fd, this.staged, waitFor, waitFor > 0 ? uring.IORING_ENTER_GETEVENTS : 0);
      this.#submitted = Atomics.load(this.#words, this.#layout.sqHead);
      if (taken !== undefined) {
        if (this.staged === 0) this.#vectorsUsed = 0;
        if (waitFor > 0 || this.staged === 0) return;
        // The kernel took a part: it has no memory for more now. What is complete frees some.
        this.#runKernelWork();
      }
      // EAGAIN, EINTR: once more.
    }
  }

  /** The descriptor is readable as long as there are completions: nothing to do. */
  woken(): void {}

  /** Calls `completed` of every request that has completed. Returns how many there were. No system call. */
  reap(): number {
    const words = this.#words;
    let reaped = 0;
    for (;;) {
      let head = Atomics.load(words, this.#layout.cqHead);
      const tail = Atomics.load(words, this.#layout.cqTail);
      if (head === tail) {
        if ((Atomics.load(words, this.#layout.sqFlags) & NEEDS_KERNEL) === 0) return reaped;
        this.#runKernelWork();
        if (Atomics.load(words, this.#layout.cqTail) === head) return reaped;
        continue;
      }
      while (head !== tail) {
        const at = (head & this.#cqMask) * CQE_WORDS;
        const slot = this.#cqes[at] as number;
        const result = this.#cqes[at + CQE_RESULT] as number;
        head = (head + 1) >>> 0;
        // The entry is free before the callback, which may throw, or put new operations into the ring.
        Atomics.store(words, this.#layout.cqHead, head);
        if (slot === -1) continue; // NO_REQUEST as an int
        reaped++;
        this.#complete(slot, result);
      }
    }
  }

  #complete(slot: number, result: number): void {
    const request = this.#requests[slot] as IoRequest;
    this.#requests[slot] = undefined;
    this.#freeSlots.push(slot);
    this.#inFlight--;
    request.completed(result);
  }

  /** Has the kernel finish completions that it put off (IORING_SETUP_COOP_TASKRUN), or that had no room. */
  #runKernelWork(): void {
    enterRing(this.fd, 0, 0, uring.IORING_ENTER_GETEVENTS);
  }

  /** Waits until every operation has completed, since they use memory of others; then frees the ring. */
  [Symbol.dispose](): void {
    if (this.#inFlight > 0) this.cancelAll();
    while (this.#inFlight > 0) {
      this.submit(1);
      this.reap();
    }
    // The kernel frees a ring some time after it was closed. Until then the file would stay open, and locked.
    if (this.#fixedFd !== undefined) unregisterFiles(this.fd);
    this.#vectors[Symbol.dispose]();
    this.#sqeMapping[Symbol.dispose]();
    this.#rings[Symbol.dispose]();
    closeFd(this.fd);
  }
}
