// test/kvm: an eventfd whose count a test can see, write and watch: what EventFd keeps to itself.
import { EPOLLIN } from '../../src/sys/constants.ts';
import { Epoll } from '../../src/sys/epoll.ts';
import type { EventFd } from '../../src/sys/event-fd.ts';
import { check, checkOrAgain, libc } from '../../src/sys/libc.ts';
import { callScratch } from '../../src/sys/scratch.ts';

/** Reads the count to zero: 0 where there was none. */
export function takeCount({ fd }: EventFd): number {
  // SAFETY: 8 bytes of this thread's scratch.
  const got = checkOrAgain(libc.eventfd_read(fd, callScratch.address), 'eventfd_read');
  return got === undefined ? 0 : Number(callScratch.view.getBigUint64(0, true));
}

/** write(2) of the low `length` bytes of a value. */
export function writeCount({ fd }: EventFd, value: bigint, length = 8): void {
  callScratch.view.setBigUint64(0, value, true);
  // SAFETY: 8 bytes of this thread's scratch.
  check(libc.write(fd, callScratch.address, BigInt(length)), 'write');
}

/** Whether epoll says it can be read. */
export function isReadable({ fd }: EventFd): boolean {
  using epoll = new Epoll();
  epoll.add(fd, EPOLLIN);
  return epoll.wait(0) > 0;
}
