// Ground floor: a descriptor of our own for each eventfd that KVM knows. Deassigning needs one, and the owner may close his first.
import { F_DUPFD_CLOEXEC } from '../sys/constants.ts';
import type { EventFd } from '../sys/event-fd.ts';
import { check, closeFd, libc } from '../sys/libc.ts';

/**
 * Closing an eventfd does not deassign it: KVM keeps a reference, the address stays taken, and what is counted can be read by nobody.
 * With a duplicate held for as long as a registration stands, close can never come before deassign.
 */
export class HeldDescriptors {
  readonly #held = new Map<EventFd, { readonly fd: number; count: number }>();

  /** A descriptor of the same eventfd, one for all of its registrations. Throws SystemError. */
  hold(eventFd: EventFd): number {
    const held = this.#held.get(eventFd);
    if (held !== undefined) {
      held.count++;
      return held.fd;
    }
    const fd = check(
      libc.fcntl(eventFd.fd, F_DUPFD_CLOEXEC, 0),
      'fcntl',
      'the eventfd is closed, or ulimit -n is reached',
    );
    this.#held.set(eventFd, { fd, count: 1 });
    return fd;
  }

  /** Undoes one `hold`. */
  release(eventFd: EventFd): void {
    const held = this.#held.get(eventFd);
    if (held === undefined || --held.count > 0) return;
    this.#held.delete(eventFd);
    closeFd(held.fd);
  }
}
