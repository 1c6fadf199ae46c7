// sys: the interface of what runs many operations on files at a time: io_uring(7), or threads with a system call each.

/** The owner of an operation. It keeps the operation's memory alive, and where it is, until `completed`. */
export interface IoRequest {
  /** @param result what the system call of the same name returns; an error as a negative errno. */
  completed(result: number): void;
}

/**
 * Operations are put into it, all of them are submitted together, and their ends are looked for with `reap`. Each `put`
 * needs `room`. The descriptor of a file is the caller's.
 */
export interface OperationRing extends Disposable {
  /** Readable in an epoll set while there are completions that were not reaped. */
  readonly fd: number;
  /** How many more operations it takes now. */
  readonly room: number;
  /** Operations that were put into it and have not completed. */
  readonly inFlight: number;
  /** Operations that wait for `submit`. */
  readonly staged: number;
  /** pread(2) into all of `into`. */
  read(fd: number, into: Uint8Array, offset: number, request: IoRequest): void;
  /** pwrite(2) of all of `from`. */
  write(fd: number, from: Uint8Array, offset: number, request: IoRequest): void;
  /** preadv(2) into the first of these pieces: as many as it takes at a time. */
  readv(fd: number, into: readonly Uint8Array[], offset: number, request: IoRequest): void;
  /** pwritev(2) of the first of these pieces: as many as it takes at a time. */
  writev(fd: number, from: readonly Uint8Array[], offset: number, request: IoRequest): void;
  /** fdatasync(2): covers the writes that have completed. */
  fdatasync(fd: number, request: IoRequest): void;
  /** fallocate(2). */
  fallocate(fd: number, mode: number, offset: number, length: number, request: IoRequest): void;
  /** Asks that operations be cancelled: they complete with -ECANCELED, or as if nothing had been asked. */
  cancelAll(): void;
  /** Submits what was put into it, and waits until `waitFor` operations have completed. Throws SystemError. */
  submit(waitFor?: number): void;
  /** Call it when `fd` was found readable, before `reap`. */
  woken(): void;
  /** Calls `completed` of every request that has completed. Returns how many there were. */
  reap(): number;
  /** Waits until every operation has completed, since they use memory of others; then frees everything. */
  [Symbol.dispose](): void;
}
