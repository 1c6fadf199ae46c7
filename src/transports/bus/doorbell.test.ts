// A doorbell over every order of events: the kernel may refuse, the guest kicks at any time, hosts start and stop.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventFd } from '../../sys/event-fd.ts';
import { EventLoop } from '../../sys/event-loop.ts';
import type { Chooser } from '../../testing/chooser.ts';
import { type Bell, DoorbellKernel } from '../../testing/doorbell-kernel.ts';
import { type ExploredWorld, explore } from '../../testing/explore.ts';
import { importWithMistake } from '../../testing/mutant.ts';
import { Doorbell, type DoorbellLines } from './doorbell.ts';

/** One queue's doorbell, opened and closed repeatedly, and the host that watches it, on one thread. */
class World implements ExploredWorld {
  readonly #choose: Chooser;
  readonly #Doorbell: typeof Doorbell;
  readonly #kernel: DoorbellKernel;
  readonly #loop = new EventLoop();
  readonly #lines: string[] = [];
  #doorbell: Doorbell | undefined;
  /** The host's watch of the eventfd. */
  #watch: Disposable | undefined;
  #isOver = false;

  constructor(choose: Chooser, implementation = Doorbell) {
    this.#choose = choose;
    this.#Doorbell = implementation;
    this.#kernel = new DoorbellKernel(choose);
  }

  get #owned(): Bell | undefined {
    return this.#doorbell && this.#kernel.latest;
  }

  #open(): void {
    const lines: DoorbellLines = {
      assign: (eventFd) => this.#kernel.assign(eventFd),
      lateRing: () => {
        this.#doorbell?.ring();
        // A host may be another process.
        if (this.#watch !== undefined && !this.#isOver && this.#choose.flip()) this.#hostReads();
        this.#kernel.meanwhile();
      },
      log: (line) => void this.#lines.push(line),
    };
    this.#doorbell = new this.#Doorbell(this.#loop, lines);
  }

  /** A host checks the ring when it starts, and whenever the eventfd is signalled. */
  #startHost(doorbell: Doorbell): void {
    this.#watch = this.#loop.watch(doorbell.fd, { readable: () => this.#hostReads() });
    this.#kernel.meanwhile();
    this.#kernel.isOwed = false;
  }

  #hostReads(): void {
    EventFd.borrow((this.#doorbell as Doorbell).fd).clear();
    this.#kernel.meanwhile();
    this.#kernel.isOwed = false;
    this.#kernel.meanwhile();
  }

  #stopHost(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  #close(): void {
    const doorbell = this.#doorbell;
    this.#doorbell = undefined;
    doorbell?.close();
  }

  /** Delivers the trapped writes to the doorbell. */
  #deliverTrapped(): void {
    this.#kernel.trapped = 0;
    this.#doorbell?.ring();
  }

  /** The events that can happen now and change something. */
  get #events(): (() => void)[] {
    const doorbell = this.#doorbell;
    const events = [() => this.#kernel.guestRings()];
    if (doorbell === undefined) events.push(() => this.#open());
    else if (this.#watch !== undefined) events.push(() => this.#stopHost());
    else
      events.push(
        () => this.#startHost(doorbell),
        () => this.#close(),
      );
    if (this.#kernel.trapped > 0) events.push(() => this.#deliverTrapped());
    if (this.#kernel.bells.some(({ isRung }) => isRung)) events.push(() => void this.#loop.turn(0));
    return events;
  }

  step(): void {
    this.#kernel.during(this.#choose.of(this.#events));
    this.#check();
  }

  #check(): void {
    const owned = this.#owned;
    this.#kernel.check(owned);
    assert.deepEqual(this.#lines, this.#kernel.problems, 'what the user is told');
    if (owned === undefined || this.#watch === undefined || !this.#kernel.isOwed) return;
    assert.ok(this.#kernel.isKickComing(owned), 'a request is in the ring and no kick is coming');
  }

  get situation(): string {
    const listens = this.#watch !== undefined;
    return JSON.stringify([this.#doorbell !== undefined, listens, this.#kernel.situation]);
  }

  /** Runs a host, and checks that it gets every kick. */
  conclude(): void {
    this.#kernel.refusals = false;
    this.#isOver = true;
    if (this.#doorbell === undefined) this.#open();
    if (this.#watch === undefined) this.#startHost(this.#doorbell as Doorbell);
    for (const _ of [1, 2]) {
      if (this.#kernel.trapped > 0) this.#deliverTrapped();
      for (let turns = 0; turns < 3; turns++) this.#loop.turn(0);
      assert.equal(this.#kernel.isOwed, false, 'a request was lost');
      assert.ok(!this.#kernel.bells.some(({ isRung }) => isRung), 'a count stays');
      this.#kernel.guestRings();
    }
    this.#stopHost();
    try {
      this.#close();
    } finally {
      this.#kernel.throwFault();
    }
    this.#check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kernel[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
  }
}

test('every sequence of events: no kick is lost, and no eventfd is closed too early or left open', async (t) => {
  const { situations, steps, longest } = await explore((choose) => new World(choose));
  t.diagnostic(`${situations} situations, up to ${longest} events away; ${steps} events from them`);
  assert.ok(situations > 50);
});

const module = new URL('./doorbell.ts', import.meta.url);
const LOST = /a request was lost|no kick is coming/;
const KEEP_BODY = '    this.#loop.watch(this.#eventFd.fd, { readable });';

const mistakes: readonly (readonly [name: string, from: string, to: string, complaint: RegExp])[] = [
  [
    'the eventfd closed before it is given back',
    'this.#assigned?.[Symbol.dispose]();\n      this.#eventFd[Symbol.dispose]();',
    'this.#eventFd[Symbol.dispose]();\n      this.#assigned?.[Symbol.dispose]();',
    /closed before it is given back/,
  ],
  [
    'a doorbell that is not given back',
    '      this.#assigned?.[Symbol.dispose]();\n',
    '',
    /rings a closed|eventfd that is closed/,
  ],
  [
    'an eventfd that is left open',
    '      this.#eventFd[Symbol.dispose]();\n',
    '',
    /an eventfd is open that nothing needs/,
  ],
  ['a refusal that ends everything', 'return undefined;\n    }', 'throw problem;\n    }', /ENOSPC/],
  ['a refusal that is not told', 'this.#lines.log(`kicks', 'void (`kicks', /what the user is told/],
  ['a doorbell kept in silence', 'this.#lines.log(`the kernel', 'void (`the kernel', /what the user is told/],
  ['kicks on the slow path dropped', 'this.#eventFd.signal();', '', LOST],
  [
    'a kept doorbell that is closed',
    'this.#keep();',
    'this.#eventFd[Symbol.dispose]();',
    /an eventfd is open that nothing/,
  ],
  ['a kept doorbell that is not watched', KEEP_BODY, 'void readable;', LOST],
  ['late rings dropped', 'if (this.#eventFd.clear()) this.#lines.lateRing();', 'this.#eventFd.clear();', LOST],
  ['a late ring that stays', 'if (this.#eventFd.clear()) this', 'this', /a count stays/],
  [
    'a late ring cleared after it is passed on',
    'if (this.#eventFd.clear()) this.#lines.lateRing();',
    'this.#lines.lateRing();\n      this.#eventFd.clear();',
    LOST,
  ],
];

for (const [name, from, to, complaint] of mistakes) {
  test(`the walk notices ${name}`, async () => {
    const mutant = await importWithMistake<typeof import('./doorbell.ts')>(module, { module, from, to });
    await assert.rejects(
      explore((choose) => new World(choose, mutant.Doorbell)),
      complaint,
    );
  });
}
