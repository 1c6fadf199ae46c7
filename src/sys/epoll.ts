// Cellar: epoll(7), level-triggered: what is still ready is reported again, so nothing is lost by handling a part.
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, EPOLLOUT, O_CLOEXEC } from './constants.ts';
import { check, checkOrAgain, closeFd, libc } from './libc.ts';
import { callScratch, Scratch } from './scratch.ts';

const MAX_EVENTS = 64;
/** struct epoll_event is packed on x86-64 only: { u32 events; u64 data }. */
const DATA_OFFSET = process.arch === 'x64' ? 4 : 8;
const EVENT_BYTES = DATA_OFFSET + 8;

export class Epoll implements Disposable {
  readonly fd = check(libc.epoll_create1(O_CLOEXEC), 'epoll_create1');
  readonly #events = new Scratch(MAX_EVENTS * EVENT_BYTES);

  /**
   * Reports `token` (a u32) whenever `fd` is ready for `events` (EPOLLIN unless said), has hung up or failed.
   * Throws SystemError: EPERM (a file that is always ready), EEXIST (watched already), ENOSPC, EBADF.
   */
  add(fd: number, token: number, events = EPOLLIN): void {
    callScratch.view.setUint32(0, events, true);
    callScratch.view.setUint32(DATA_OFFSET, token, true);
    callScratch.view.setUint32(DATA_OFFSET + 4, 0, true);
    // SAFETY: the kernel copies the event out of this thread's scratch before it returns.
    const result = libc.epoll_ctl(this.fd, EPOLL_CTL_ADD, fd, callScratch.address);
    check(result, 'epoll_ctl', `descriptor ${fd} cannot be watched`);
  }

  /** Forgets a descriptor; one that was closed already forgot itself. */
  remove(fd: number): void {
    // SAFETY: EPOLL_CTL_DEL ignores the event argument.
    libc.epoll_ctl(this.fd, EPOLL_CTL_DEL, fd, callScratch.address);
  }

  /** Waits up to `timeoutMs` (-1: for ever, 0: not at all) and returns the number of events, for `token` and `isWritable`. */
  wait(timeoutMs: number): number {
    // SAFETY: the event array lives as long as this object and has MAX_EVENTS places.
    return checkOrAgain(libc.epoll_wait(this.fd, this.#events.address, MAX_EVENTS, timeoutMs), 'epoll_wait') ?? 0;
  }

  token(index: number): number {
    return this.#events.view.getUint32(index * EVENT_BYTES + DATA_OFFSET, true);
  }

  /** Whether event `index` says that the descriptor takes output. */
  isWritable(index: number): boolean {
    return (this.#events.view.getUint32(index * EVENT_BYTES, true) & EPOLLOUT) !== 0;
  }

  /** Whether event `index` says anything else: there is input, an end, or an error. */
  isReadable(index: number): boolean {
    return (this.#events.view.getUint32(index * EVENT_BYTES, true) & ~EPOLLOUT) !== 0;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
    this.#events[Symbol.dispose]();
  }
}
