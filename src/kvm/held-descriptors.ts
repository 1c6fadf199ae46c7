// kvm: a duplicate descriptor of each eventfd that is registered with KVM, because the owner may close its own
// first.
import { F_DUPFD_CLOEXEC } from '../sys/constants.ts';
import type { EventFd } from '../sys/event-fd.ts';
import { check, closeFd, libc } from '../sys/libc.ts';

/**
 * Closing an eventfd does not deassign it: KVM keeps a reference, the address stays in use, and the count can no longer
 * be read. Deassigning needs a descriptor. A duplicate that is held as long as the registration makes that possible in
 * any order.
 */
export class HeldDescriptors {
  readonly #held = new Map<EventFd, { readonly fd: number; count: number }>();

  /** Returns a duplicate of the eventfd's descriptor, one for all of its registrations. Throws SystemError. */
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
