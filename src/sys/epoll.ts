// sys: epoll(7), level-triggered: a descriptor that is still ready is reported again by the next wait.
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, EPOLLOUT, O_CLOEXEC } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch, Scratch } from './scratch.ts';

const MAX_EVENTS = 64;
/** struct epoll_event is packed on x86-64 only: { u32 events; u64 data }. */
const DATA_OFFSET = process.arch === 'x64' ? 4 : 8;
const EVENT_BYTES = DATA_OFFSET + 8;

/** An epoll set. The creator disposes it. */
export class Epoll implements Disposable {
  readonly fd = check(libc.epoll_create1(O_CLOEXEC), 'epoll_create1');
  readonly #events = new Scratch(MAX_EVENTS * EVENT_BYTES);

  /**
   * Reports `token` (a u32) whenever `fd` is ready for `events` (default EPOLLIN), has hung up or failed.
   * Throws SystemError: EPERM (a file that is always ready), EEXIST (already watched), ENOSPC, EBADF.
   */
  add(fd: number, token: number, events = EPOLLIN): void {
    callScratch.view.setUint32(0, events, true);
    callScratch.view.setUint32(DATA_OFFSET, token, true);
    callScratch.view.setUint32(DATA_OFFSET + 4, 0, true);
    // SAFETY: the kernel copies the event out of this thread's scratch before it returns.
    const result = libc.epoll_ctl(this.fd, EPOLL_CTL_ADD, fd, callScratch.address);
    check(result, 'epoll_ctl', `descriptor ${fd} cannot be watched`);
  }

  /** Removes a descriptor. The kernel has already removed one that was closed. */
  remove(fd: number): void {
    // SAFETY: EPOLL_CTL_DEL ignores the event argument.
    libc.epoll_ctl(this.fd, EPOLL_CTL_DEL, fd, callScratch.address);
  }

  /**
   * Waits up to `timeoutMs` (-1: for ever, 0: not at all). Returns the number of events: the indices that `token`,
   * `isWritable` and `isReadable` take.
   */
  wait(timeoutMs: number): number {
    // SAFETY: the event array lives as long as this object and has MAX_EVENTS entries.
    return checkOrAgain(libc.epoll_wait(this.fd, this.#events.address, MAX_EVENTS, timeoutMs), 'epoll_wait') ?? 0;
  }

  /** The token of event `index`, as passed to `add`. */
  token(index: number): number {
    return this.#events.view.getUint32(index * EVENT_BYTES + DATA_OFFSET, true);
  }

  /** Whether event `index` reports that the descriptor is writable. */
  isWritable(index: number): boolean {
    return (this.#events.view.getUint32(index * EVENT_BYTES, true) & EPOLLOUT) !== 0;
  }

  /** Whether event `index` reports anything else: input, a hang-up or an error. */
  isReadable(index: number): boolean {
    return (this.#events.view.getUint32(index * EVENT_BYTES, true) & ~EPOLLOUT) !== 0;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
    this.#events[Symbol.dispose]();
  }
}
