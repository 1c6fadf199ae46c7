// Cellar: whether a descriptor somebody sent can be rung or listened to without harm. proc_pid_fd(5), fcntl(2).
import { readlinkSync } from 'node:fs';
import { F_GETFL, F_SETFL, O_NONBLOCK } from './constants.ts';
import { check, libc, SystemError } from './libc.ts';

/** Eventfds by nature; others send a pipe or, User-Mode Linux, one end of a socket pair. Throws SystemError EBADF or EINVAL. */
export function checkedNotifier(fd: number): number {
  const kind = describeFd(fd);
  if (!/^(anon_inode:\[eventfd\]|pipe:|socket:)/.test(kind))
    throw new SystemError('eventfd', 'EINVAL', `the descriptor is ${kind}`);
  // A full pipe or a counter at its maximum must not block the device thread.
  check(libc.fcntl(fd, F_SETFL, check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') | O_NONBLOCK), 'fcntl');
  return fd;
}

/** What /proc calls a descriptor: `anon_inode:[eventfd]`, `pipe:[7]`, a path. Throws SystemError EBADF when it is not open. */
function describeFd(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    throw new SystemError('readlink', 'EBADF', `descriptor ${fd} is not open`);
  }
}
