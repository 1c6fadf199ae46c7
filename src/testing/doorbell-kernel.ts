// testing: a model of one doorbell address in a kernel that may refuse any call, and of a guest that kicks at any
// time.
import assert from 'node:assert/strict';
import type { EventFd } from '../sys/event-fd.ts';
import type { Chooser } from './chooser.ts';

/** An eventfd that was registered with the kernel. */
export class Bell {
  readonly eventFd: EventFd;
  /** Whether its owner has it open. */
  isOpen = true;
  /** The kernel refused to remove it. */
  isKept = false;

  constructor(eventFd: EventFd) {
    this.eventFd = eventFd;
    const close = eventFd[Symbol.dispose].bind(eventFd);
    // A closed descriptor's number may be reused, so closing is recorded here.
    eventFd[Symbol.dispose] = () => {
      assert.ok(this.isOpen, 'an eventfd is closed twice');
      this.isOpen = false;
      close();
    };
  }

  /** Whether it has a count. */
  get isRung(): boolean {
    if (!this.isOpen || !this.eventFd.clear()) return false;
    this.eventFd.signal();
    return true;
  }
}

/** The kernel's side of one doorbell address, and the guest's kicks. */
export class DoorbellKernel implements Disposable {
  /** The eventfd that the guest's write signals. Undefined: the write causes an exit. */
  registered: Bell | undefined;
  /** Every eventfd that was ever registered. */
  readonly bells: Bell[] = [];
  /** Writes to the address that caused an exit and are not delivered yet. */
  trapped = 0;
  /** The guest put requests into the ring that no host has served. */
  isOwed = false;
  refusals = true;
  /** The problems that should have been logged. */
  readonly problems: string[] = [];
  /** Broken rules, for `check`. Not thrown at once, because the code under test takes any error for a refusal. */
  readonly #faults: string[] = [];
  readonly #choose: Chooser;
  #isGuestRunning = false;

  constructor(choose: Chooser) {
    this.#choose = choose;
  }

  /** The eventfd that was registered last. */
  get latest(): Bell | undefined {
    return this.bells.at(-1);
  }

  /** The eventfds that it refused to remove. */
  get kept(): readonly Bell[] {
    return this.bells.filter(({ isKept }) => isKept);
  }

  /** The guest makes a request and kicks. */
  guestRings(): void {
    this.isOwed = true;
    if (this.registered === undefined) this.trapped++;
    else {
      this.must(this.registered.isOpen, 'the kernel rings an eventfd that is closed');
      if (this.registered.isOpen) this.registered.eventFd.signal();
    }
  }

  /** Runs one event, during which the guest may kick once, at any call of `meanwhile`. */
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

  /** Records a fault unless `condition` holds. */
  must(condition: boolean, fault: string): void {
    if (!condition) this.#faults.push(fault);
  }

  #refusal(why: string, line: string): Error {
    this.problems.push(`${line}: ${why}`);
    return new Error(why);
  }

  /** Throws the first fault. */
  throwFault(): void {
    if (this.#faults.length > 0) assert.fail(this.#faults[0]);
  }

  /** Checks the invariants between events; `owned` is the eventfd of the open doorbell. */
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

  /** Whether a kick is on its way to the host that watches `owned`. */
  isKickComing(owned: Bell): boolean {
    return this.trapped > 0 || [owned, ...this.kept].some(({ isRung }) => isRung);
  }

  /** This kernel's part of a world's situation. */
  get situation(): unknown {
    const of = (bell: Bell): string => `${bell.isRung} ${bell === this.registered} ${bell.isKept}`;
    return { bells: this.bells.filter(({ isOpen }) => isOpen).map(of), trapped: this.trapped > 0, isOwed: this.isOwed };
  }

  [Symbol.dispose](): void {
    for (const { isOpen, eventFd } of this.bells) if (isOpen) eventFd[Symbol.dispose]();
  }
}
