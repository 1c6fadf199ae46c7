// Upper floor: one doorbell address of a made-up kernel that may refuse anything, and a guest that rings whenever it likes.
import assert from 'node:assert/strict';
import type { EventFd } from '../sys/event-fd.ts';
import type { Chooser } from './chooser.ts';

/** An eventfd that the kernel was given to ring. */
export class Bell {
  readonly eventFd: EventFd;
  /** Whether its owner has not closed it. */
  isOpen = true;
  /** The kernel would not give it back. */
  isKept = false;

  constructor(eventFd: EventFd) {
    this.eventFd = eventFd;
    const close = eventFd[Symbol.dispose].bind(eventFd);
    // Tells a descriptor that is closed from another that has got its number.
    eventFd[Symbol.dispose] = () => {
      assert.ok(this.isOpen, 'an eventfd is closed twice');
      this.isOpen = false;
      close();
    };
  }

  /** Whether it has a count that was not read. */
  get isRung(): boolean {
    if (!this.isOpen || !this.eventFd.clear()) return false;
    this.eventFd.signal();
    return true;
  }
}

export class DoorbellKernel implements Disposable {
  /** What the guest's write to the address rings. Undefined: nothing, the write leaves the guest. */
  registered: Bell | undefined;
  /** Every eventfd that it was ever given. */
  readonly bells: Bell[] = [];
  /** Writes to the address that left the guest, and were not passed on. */
  trapped = 0;
  /** The guest put requests into the ring that no host has served. */
  isOwed = false;
  refusals = true;
  /** The problems that a user should have been told. */
  readonly problems: string[] = [];
  /** What was done that must not be. Kept for `check`, since code that expects a refusal takes any error for one. */
  readonly #faults: string[] = [];
  readonly #choose: Chooser;
  #isGuestRunning = false;

  constructor(choose: Chooser) {
    this.#choose = choose;
  }

  /** The eventfd it was given last. */
  get latest(): Bell | undefined {
    return this.bells.at(-1);
  }

  /** Those that it would not give back. */
  get kept(): readonly Bell[] {
    return this.bells.filter(({ isKept }) => isKept);
  }

  /** Makes a request and rings. */
  guestRings(): void {
    this.isOwed = true;
    if (this.registered === undefined) this.trapped++;
    else {
      this.must(this.registered.isOpen, 'the kernel rings an eventfd that is closed');
      if (this.registered.isOpen) this.registered.eventFd.signal();
    }
  }

  /** One event, during which the guest may ring once, wherever `meanwhile` is called. */
  during(event: () => void): void {
    this.#isGuestRunning = true;
    try {
      event();
    } finally {
      this.#isGuestRunning = false;
    }
  }

  meanwhile(): void {
    if (!this.#isGuestRunning || !this.#choose.flip()) return;
    this.#isGuestRunning = false;
    this.guestRings();
  }

  refuses(): boolean {
    return this.refusals && this.#choose.flip();
  }

  /** As `DoorbellLines.assign`. */
  assign(eventFd: EventFd): Disposable {
    const bell = new Bell(eventFd);
    this.bells.push(bell);
    this.meanwhile();
    if (this.registered !== undefined) {
      this.must(this.registered.isKept, 'two doorbells at one address');
      throw this.#refusal('EEXIST', 'kicks take the slow path, out of the guest');
    }
    if (this.refuses()) throw this.#refusal('ENOSPC', 'kicks take the slow path, out of the guest');
    this.registered = bell;
    this.meanwhile();
    return { [Symbol.dispose]: () => this.#giveBack(bell) };
  }

  #giveBack(bell: Bell): void {
    this.meanwhile();
    this.must(this.registered === bell, 'what is not registered is given back');
    this.must(bell.isOpen, 'an eventfd is closed before it is given back');
    if (this.refuses()) {
      bell.isKept = true;
      throw this.#refusal('ENOMEM', 'the kernel goes on ringing a doorbell that was given back');
    }
    this.registered = undefined;
    this.meanwhile();
  }

  /** Notes a fault unless it is so. */
  must(isSo: boolean, fault: string): void {
    if (!isSo) this.#faults.push(fault);
  }

  #refusal(why: string, told: string): Error {
    this.problems.push(`${told}: ${why}`);
    return new Error(why);
  }

  /** Throws what was done that must not be. */
  throwFault(): void {
    if (this.#faults.length > 0) assert.fail(this.#faults[0]);
  }

  /** Checks what holds between any two events; `owned` is the eventfd of the doorbell that is open. */
  check(owned: Bell | undefined): void {
    this.throwFault();
    for (const bell of this.bells)
      assert.equal(
        bell.isOpen,
        bell === owned || bell.isKept,
        'an eventfd is open that nothing needs, or closed too early',
      );
    const { registered } = this;
    assert.ok(
      registered === undefined || registered === owned || registered.isKept,
      'the kernel rings a closed doorbell',
    );
  }

  /** Whether a kick is on its way to what listens to `owned`. */
  isKickComing(owned: Bell): boolean {
    return this.trapped > 0 || [owned, ...this.kept].some(({ isRung }) => isRung);
  }

  /** Its part of a world's situation. */
  get situation(): unknown {
    const of = (bell: Bell): string => `${bell.isRung} ${bell === this.registered} ${bell.isKept}`;
    return { bells: this.bells.filter(({ isOpen }) => isOpen).map(of), trapped: this.trapped > 0, isOwed: this.isOwed };
  }

  [Symbol.dispose](): void {
    for (const { isOpen, eventFd } of this.bells) if (isOpen) eventFd[Symbol.dispose]();
  }
}
