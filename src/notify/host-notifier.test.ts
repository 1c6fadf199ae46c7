// Who hears the doorbell, over every sequence of events: a kernel, a guest, an owner and refusals, all made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chooser } from '../testing/chooser.ts';
import { every } from '../testing/every.ts';
import {
  type Grab,
  HostNotifier,
  type NotifierPort,
  type NotifierState,
  type Registration,
  TRANSITIONS,
  type Transition,
  type TransitionTable,
} from './host-notifier.ts';

/** An eventfd, and whether somebody watches it. */
interface Bell {
  count: number;
  isOpen: boolean;
  watcher: 'handler' | 'owner' | 'trap' | undefined;
}

const newBell = (watcher?: Bell['watcher']): Bell => ({ count: 0, isOpen: true, watcher });
const BEGUN: readonly NotifierState[] = ['assigned', 'trapped'];
const LENT: readonly NotifierState[] = ['lent', 'lentWanted'];

/** Everything around the machine: the kernel has one place for the queue's doorbell; the guest fills a ring and rings. */
class World implements NotifierPort {
  readonly notifier: HostNotifier;
  readonly said: string[] = [];
  readonly #choose: Chooser;
  readonly #grabs: Grab[] = [];
  #registered: Bell | undefined;
  #own: Bell | undefined;
  #lent: { readonly grab: Grab; readonly bell: Bell; refused: boolean } | undefined;
  readonly #kept: Bell[] = [];
  /** The guest put requests into the ring that nobody served yet. */
  #owed = false;
  /** Kicks that left the guest and wait for the queue's thread. */
  #trapped = 0;
  #draining = false;
  #guestRuns = false;
  refusals = true;

  constructor(choose: Chooser, table?: TransitionTable) {
    this.#choose = choose;
    this.notifier = new HostNotifier(this, table);
  }

  // What the guest does, whenever it likes: its processor is another one.

  #guestRings(): void {
    this.#owed = true;
    if (this.#registered !== undefined) this.#registered.count++;
    else this.#trapped++;
  }

  /** Between any two actions of an event the guest may ring; one ring says as much as several. */
  #meanwhile(): void {
    if (!this.#guestRuns || !this.#choose.flip()) return;
    this.#guestRuns = false;
    this.#guestRings();
  }

  // What the kernel does.

  #refuses(): boolean {
    return this.refusals && this.#choose.flip();
  }

  #register(bell: Bell): string | undefined {
    this.#meanwhile();
    const inTheWay = this.#registered;
    if (inTheWay !== undefined) {
      assert.ok(this.#kept.includes(inTheWay), 'two at one address');
      // As a real port would: what was kept is given back first, if the kernel has come to its senses.
      if (this.#refuses()) return 'EEXIST';
      this.#registered = undefined;
    }
    if (this.#refuses()) return 'ENOSPC';
    assert.ok(bell.isOpen, 'a closed eventfd is registered');
    this.#registered = bell;
    return undefined;
  }

  #unregister(bell: Bell): string | undefined {
    this.#meanwhile();
    assert.equal(this.#registered, bell, 'what is not registered is given back');
    if (this.#refuses()) return 'ENOMEM';
    this.#registered = undefined;
    return undefined;
  }

  #close(bell: Bell): void {
    assert.notEqual(this.#registered, bell, 'close before unregister');
    assert.ok(bell.isOpen, 'closed twice');
    bell.isOpen = false;
  }

  #keep(bell: Bell): void {
    assert.equal(this.#registered, bell, 'kept, and not registered');
    bell.watcher = 'trap';
    this.#kept.push(bell);
  }

  // Our side of the queue.

  open(): void {
    this.#meanwhile();
    assert.equal(this.#own, undefined, 'opened twice');
    this.#own = newBell();
  }

  get #bell(): Bell {
    assert.ok(this.#own?.isOpen, 'there is no eventfd');
    return this.#own;
  }

  register = (): string | undefined => this.#register(this.#bell);
  unregister = (): string | undefined => this.#unregister(this.#bell);

  ring(): void {
    this.#meanwhile();
    this.#bell.count++;
  }

  attach(): void {
    this.#meanwhile();
    assert.equal(this.#bell.watcher, undefined, 'attached twice');
    this.#bell.watcher = 'handler';
  }

  detach(): void {
    this.#meanwhile();
    assert.equal(this.#bell.watcher, 'handler', 'detached, and not attached');
    this.#bell.watcher = undefined;
  }

  drain(): void {
    this.#meanwhile();
    assert.equal(this.#bell.watcher, undefined, 'drained while the handler could run as well');
    this.#draining = true;
    if (this.#bell.count > 0) this.#handle(this.#bell);
    this.#draining = false;
    this.#meanwhile();
  }

  close(): void {
    this.#meanwhile();
    assert.equal(this.#bell.count, 0, 'a count is closed that nobody handled');
    this.#close(this.#bell);
    this.#own = undefined;
  }

  keep(): void {
    this.#keep(this.#bell);
    this.#own = undefined;
  }

  clear(): void {
    assert.equal(this.#own, undefined, 'the ring begins anew under the handler');
    this.#owed = false;
  }

  say(line: string): void {
    this.said.push(line);
  }

  /** The handler of a bell's watcher: reads the count, serves all there is. */
  #handle(bell: Bell): void {
    bell.count = 0;
    if (bell.watcher === 'trap') return this.notifier.kick();
    const { state } = this.notifier;
    const allowed = bell.watcher === 'owner' ? LENT.includes(state) : this.#draining || BEGUN.includes(state);
    assert.ok(allowed, `a handler runs in the state ${state}`);
    this.#owed = false;
    this.#meanwhile();
  }

  // What can happen.

  get #watched(): readonly Bell[] {
    return [this.#own, this.#lent?.bell, ...this.#kept].filter((bell) => bell?.watcher !== undefined) as Bell[];
  }

  /** The queue's thread takes what left the guest. */
  kick(): void {
    this.#trapped = 0;
    this.notifier.kick();
  }

  turn(): void {
    for (const bell of this.#watched) if (bell.count > 0) this.#handle(bell);
  }

  grab(): void {
    this.#grabs.push(this.notifier.grab());
  }

  release(): void {
    const grab = this.#choose.flip() ? this.#grabs.shift() : this.#grabs.pop();
    grab?.[Symbol.dispose]();
  }

  lend(): void {
    const grab = this.#choose.of(this.#grabs);
    const bell = newBell('owner');
    const lent = { grab, bell, refused: false };
    const owner: Registration = {
      register: () => {
        const problem = this.#register(bell);
        lent.refused = problem !== undefined;
        return problem;
      },
      unregister: () => this.#unregister(bell),
      ring: () => {
        assert.ok(bell.isOpen, 'a closed eventfd is rung');
        bell.count++;
      },
      close: () => {
        this.#close(bell);
        this.#lent = undefined;
      },
      keep: () => {
        this.#keep(bell);
        this.#lent = undefined;
      },
    };
    this.#lent = lent;
    grab.lend(owner);
  }

  reclaim(): void {
    this.#lent?.grab.reclaim();
  }

  /** What can happen now and would change something. */
  get #possible(): (() => void)[] {
    const { notifier } = this;
    const events = [() => notifier.start(), () => notifier.stop(), () => this.grab(), () => this.#guestRings()];
    if (this.#lent === undefined) events.push(() => notifier.reset());
    if (this.#grabs.length > 0) events.push(() => this.release());
    if (this.#grabs.length > 0 && this.#lent === undefined) events.push(() => this.lend());
    if (this.#lent !== undefined) events.push(() => this.reclaim());
    if (this.#trapped > 0) events.push(() => this.kick());
    if (this.#watched.some(({ count }) => count > 0)) events.push(() => this.turn());
    return events;
  }

  /** One event, chosen. */
  step(): void {
    const event = this.#choose.of(this.#possible);
    this.#guestRuns = true;
    event();
    this.#guestRuns = false;
    this.check();
  }

  /** All that what happens next can depend on. */
  get situation(): string {
    const of = (bell: Bell | undefined) =>
      bell && `${bell.count > 0} ${bell.watcher} ${bell === this.#registered && 'registered'}`;
    const { state } = this.notifier;
    const lender = this.#lent && this.#grabs.indexOf(this.#lent.grab);
    const kept = this.#kept.map(of).filter((bell) => bell?.startsWith('true') || bell?.endsWith('registered'));
    const all = { state, own: of(this.#own), lent: of(this.#lent?.bell), refused: this.#lent?.refused, lender, kept };
    return JSON.stringify({ ...all, grabs: this.#grabs.length, owed: this.#owed, trapped: this.#trapped > 0 });
  }

  // What must be true between events.

  check(): void {
    const { state } = this.notifier;
    const listening = BEGUN.includes(state) ? this.#own : this.#lent?.bell;
    assert.equal(this.#own !== undefined, BEGUN.includes(state), `our eventfd in the state ${state}`);
    assert.equal(this.#lent !== undefined, LENT.includes(state), `an owner in the state ${state}`);
    const expected = state === 'assigned' || (this.#lent && !this.#lent.refused) ? listening : undefined;
    // Registered if and only if exactly one owner has it; or the kernel would not give it back, and we know.
    const isKept = this.#registered !== undefined && this.#kept.includes(this.#registered);
    if (!isKept) assert.equal(this.#registered, expected, `what the kernel rings in the state ${state}`);
    else assert.equal(expected, undefined, `a kept doorbell stands in the way in the state ${state}`);
    if (listening === undefined || !this.#owed) return;
    const isComing = this.#trapped > 0 || [listening, ...this.#kept].some(({ count }) => count > 0);
    assert.ok(isComing, `a request is in the ring and no ring is on its way, in the state ${state}`);
  }

  /** Ends everything, begins again, and expects that nothing was lost. */
  conclude(): void {
    this.refusals = false;
    this.reclaim();
    while (this.#grabs.length > 0) this.#grabs.pop()?.[Symbol.dispose]();
    this.notifier.start();
    assert.equal(this.notifier.state, 'assigned');
    if (this.#trapped > 0) this.kick();
    for (let turns = 0; turns < 3; turns++) this.turn();
    assert.equal(this.#owed, false, 'a request was lost');
    this.notifier.stop();
    assert.equal(this.#registered, undefined);
  }
}

/** Answers as it did before, then as `fresh` says. */
class Replay extends Chooser {
  readonly answers: number[];
  readonly #fresh: Chooser;
  #next = 0;

  constructor(answers: readonly number[], fresh: Chooser) {
    super();
    this.answers = [...answers];
    this.#fresh = fresh;
  }

  below(count: number): number {
    if (this.#next === this.answers.length) this.answers.push(this.#fresh.below(count));
    return this.answers[this.#next++] as number;
  }
}

/**
 * Walks every sequence of up to `depth` events, and every place in them where the guest rings and the kernel refuses. Sequences that
 * meet in one situation go on as one. Gives how many situations and how many steps between them there were.
 */
function explore(depth: number, table?: TransitionTable): { situations: number; steps: number } {
  const met = new Set<string>();
  let steps = 0;
  let frontier: (readonly number[])[] = [[]];
  for (let length = 1; length <= depth; length++) {
    const reached: number[][] = [];
    for (const answers of frontier) {
      for (const fresh of every()) {
        const replay = new Replay(answers, fresh);
        const world = new World(replay, table);
        for (let i = 0; i < length; i++) world.step();
        steps++;
        if (met.has(world.situation)) continue;
        met.add(world.situation);
        reached.push(replay.answers);
        world.conclude();
      }
    }
    frontier = reached;
  }
  return { situations: met.size, steps };
}

// Registered iff exactly one owner has it; close never before unregister; no handler after stop; every count handled.
test('every sequence of eight events, with guest and kernel in between as they like, keeps every promise', (t) => {
  const { situations, steps } = explore(8);
  t.diagnostic(`${situations} situations, ${steps} steps between them`);
  assert.ok(situations > 1000);
});

const actionsWithout = ({ actions, ...rest }: Transition, action: string): Transition => ({
  ...rest,
  actions: actions.filter((other) => other !== action),
});

/** The table with one row changed. */
function altered(
  state: NotifierState,
  event: keyof TransitionTable[NotifierState],
  change: (was: Transition) => Transition,
) {
  const was = TRANSITIONS[state][event] as Transition;
  return { ...TRANSITIONS, [state]: { ...TRANSITIONS[state], [event]: change(was) } };
}

const mistakes: readonly (readonly [string, TransitionTable, RegExp])[] = [
  [
    'closing first',
    altered('assigned', 'stop', (was) => ({ ...was, actions: ['detach', 'drain', 'close', 'unregister'] })),
    /close before unregister/,
  ],
  [
    'draining before the kernel stops counting',
    altered('assigned', 'stop', (was) => ({ ...was, actions: ['detach', 'drain', 'unregister', 'close'] })),
    /a count is closed/,
  ],
  ['forgetting to drain', altered('assigned', 'grab', (was) => actionsWithout(was, 'drain')), /a count is closed/],
  [
    'leaving the handler attached while draining',
    altered('assigned', 'stop', (was) => actionsWithout(was, 'detach')),
    /drained while the handler/,
  ],
  ['beginning without a look', altered('unassigned', 'start', (was) => actionsWithout(was, 'ring')), /a request/],
  [
    'taking back without a look',
    altered('grabbedWanted', 'releaseLast', (was) => actionsWithout(was, 'ring')),
    /a request/,
  ],
  ['ignoring kicks on the slow path', altered('trapped', 'kick', (was) => actionsWithout(was, 'ring')), /a request/],
  ['keeping kicks from the owner', altered('lent', 'kick', (was) => actionsWithout(was, 'forward')), /a request/],
  ['forgetting the refusal', altered('unassigned', 'start', ({ to, actions }) => ({ to, actions })), /./],
  [
    'clearing before the last requests',
    altered('assigned', 'reset', (was) => ({ ...was, actions: ['clear', ...was.actions] })),
    /anew/,
  ],
  ['beginning beside an owner', altered('lent', 'start', () => TRANSITIONS.unassigned.start as Transition), /./],
];

for (const [name, table, complaint] of mistakes) {
  test(`the walk notices ${name}`, () => {
    assert.throws(() => explore(6, table), complaint);
  });
}

// Single steps, with every action written down.

/** A port that says what it is told to do; `refuse` names what fails, `fail` what throws. */
class Log implements NotifierPort {
  readonly lines: string[] = [];
  refuse = '';
  fail = '';

  #log(line: string): string | undefined {
    this.lines.push(line);
    if (this.fail === line) throw new Error(`${line} failed`);
    return this.refuse === line ? 'ENOSPC' : undefined;
  }

  open = () => void this.#log('open');
  register = () => this.#log('register');
  attach = () => void this.#log('attach');
  ring = () => void this.#log('ring');
  detach = () => void this.#log('detach');
  unregister = () => this.#log('unregister');
  drain = () => void this.#log('drain');
  close = () => void this.#log('close');
  keep = () => void this.#log('keep');
  clear = () => void this.#log('clear');
  say = (line: string) => void this.#log(line);

  /** What was done since the last time, in one line. */
  get done(): string {
    return this.lines.splice(0).join(' ');
  }

  /** The other party's eventfd: its lines begin with `owner`. */
  readonly owner: Registration = {
    register: () => this.#log('owner-register'),
    unregister: () => this.#log('owner-unregister'),
    ring: () => void this.#log('owner-ring'),
    close: () => void this.#log('owner-close'),
    keep: () => void this.#log('owner-keep'),
  };
}

function setUp(): { log: Log; notifier: HostNotifier } {
  const log = new Log();
  return { log, notifier: new HostNotifier(log) };
}

const BEGIN = 'open register attach ring';
const END = 'detach unregister drain close';
const SLOW = 'kicks take the slow path, out of the guest: ENOSPC';

test('it begins unassigned, and DRIVER_OK assigns; the ring is looked at once', () => {
  const { log, notifier } = setUp();
  assert.equal(notifier.state, 'unassigned');
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['assigned', BEGIN]);
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['assigned', '']);
});

test('the last requests are handled after the kernel stopped counting, then the eventfd is closed', () => {
  const { log, notifier } = setUp();
  notifier.start();
  notifier.stop();
  assert.deepEqual([notifier.state, log.done], ['unassigned', `${BEGIN} ${END}`]);
});

test('a grab takes it from us and gives it back', () => {
  const { log, notifier } = setUp();
  notifier.start();
  const grab = notifier.grab();
  assert.deepEqual([notifier.state, log.done], ['grabbedWanted', `${BEGIN} ${END}`]);
  grab.lend(log.owner);
  assert.deepEqual([notifier.state, log.done], ['lentWanted', 'owner-register owner-ring']);
  notifier.kick();
  assert.equal(log.done, 'owner-ring');
  grab[Symbol.dispose]();
  assert.deepEqual([notifier.state, log.done], ['assigned', `owner-unregister owner-close ${BEGIN}`]);
  grab[Symbol.dispose]();
  assert.equal(log.done, '');
});

test('a grab before DRIVER_OK ends where it began', () => {
  const { log, notifier } = setUp();
  notifier.grab()[Symbol.dispose]();
  assert.deepEqual([notifier.state, log.done], ['unassigned', '']);
});

test('what is wanted may change while it is grabbed', () => {
  const { log, notifier } = setUp();
  notifier.start();
  const grab = notifier.grab();
  notifier.stop();
  grab[Symbol.dispose]();
  assert.equal(notifier.state, 'unassigned');
  const again = notifier.grab();
  again.lend(log.owner);
  notifier.start();
  again[Symbol.dispose]();
  assert.equal(notifier.state, 'assigned');
});

test('of two grabs the first release gives nothing back', () => {
  const { notifier } = setUp();
  notifier.start();
  const grabs = [notifier.grab(), notifier.grab()];
  grabs[0]?.[Symbol.dispose]();
  assert.equal(notifier.state, 'grabbedWanted');
  grabs[1]?.[Symbol.dispose]();
  assert.equal(notifier.state, 'assigned');
});

test('a reset ends as a stop does, and only then the queue begins anew', () => {
  const { log, notifier } = setUp();
  notifier.start();
  notifier.reset();
  assert.deepEqual([notifier.state, log.done], ['unassigned', `${BEGIN} ${END} clear`]);
});

test('a refused registration is said once, works by kicks, and is tried again at the next DRIVER_OK', () => {
  const { log, notifier } = setUp();
  log.refuse = 'register';
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['trapped', `open register ${SLOW} attach ring`]);
  notifier.kick();
  assert.equal(log.done, 'ring');
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['trapped', 'register']);
  notifier.stop();
  assert.equal(log.done, 'detach drain close', 'nothing to unregister');
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['trapped', 'open register attach ring']);
  log.refuse = '';
  notifier.start();
  assert.deepEqual([notifier.state, log.done], ['assigned', 'register']);
  log.refuse = 'register';
  notifier.stop();
  notifier.start();
  assert.match(log.done, /slow path/, 'a new trouble is news');
});

test('an owner whom the kernel refuses gets his kicks from us', () => {
  const { log, notifier } = setUp();
  const grab = notifier.grab();
  log.refuse = 'owner-register';
  grab.lend(log.owner);
  assert.deepEqual([notifier.state, log.done], ['lent', `owner-register ${SLOW} owner-ring`]);
  notifier.kick();
  grab[Symbol.dispose]();
  assert.equal(log.done, 'owner-ring owner-close', 'nothing to unregister');
});

test('what the kernel does not give back is kept open and listened to, and said', () => {
  const { log, notifier } = setUp();
  notifier.start();
  log.refuse = 'unregister';
  notifier.stop();
  const said = 'the kernel goes on ringing a doorbell that was given back: ENOSPC';
  assert.equal(log.done, `${BEGIN} detach unregister ${said} drain keep`);
  const grab = notifier.grab();
  grab.lend(log.owner);
  log.refuse = 'owner-unregister';
  grab.reclaim();
  assert.match(log.done, /owner-unregister .*owner-keep$/);
});

test('a kick of a queue that was not started is nobody’s', () => {
  const { log, notifier } = setUp();
  notifier.kick();
  assert.deepEqual([notifier.state, log.done], ['unassigned', '']);
});

test('a reset while it is lent is a mistake, and changes nothing', () => {
  const { log, notifier } = setUp();
  const grab = notifier.grab();
  grab.lend(log.owner);
  assert.throws(() => notifier.reset(), /reset in the state lent: whoever has it lent gives it back first/);
  assert.equal(notifier.state, 'lent');
  grab.reclaim();
  notifier.reset();
});

test('it is lent to one at a time, and by nobody who released it', () => {
  const { log, notifier } = setUp();
  const grabs = [notifier.grab(), notifier.grab()] as const;
  grabs[0].lend(log.owner);
  assert.throws(() => grabs[1].lend(log.owner), /somebody else has the doorbell/);
  grabs[1].reclaim();
  assert.equal(notifier.state, 'lent', 'only who took it gives it back');
  grabs[0][Symbol.dispose]();
  assert.throws(() => grabs[0].lend(log.owner), /was released/);
});

test('a handler that throws while the last requests are handled keeps nothing from being closed', () => {
  const { log, notifier } = setUp();
  notifier.start();
  log.fail = 'drain';
  assert.throws(() => notifier.stop(), /drain failed/);
  assert.deepEqual([notifier.state, log.done], ['unassigned', `${BEGIN} ${END}`]);
});

test('without an eventfd nothing begins', () => {
  const { log, notifier } = setUp();
  log.fail = 'open';
  assert.throws(() => notifier.start(), /open failed/);
  assert.deepEqual([notifier.state, log.done], ['unassigned', 'open']);
  const grab = notifier.grab();
  notifier.start();
  assert.throws(() => grab[Symbol.dispose](), /open failed/);
  assert.equal(notifier.state, 'grabbedWanted');
  log.fail = '';
  grab[Symbol.dispose]();
  assert.equal(notifier.state, 'assigned');
});

test('an event while another is being handled is a mistake', () => {
  const { log, notifier } = setUp();
  notifier.start();
  log.drain = () => void notifier.reset();
  assert.throws(() => notifier.stop(), /reset while another event is being handled/);
  assert.equal(notifier.state, 'unassigned');
});

test('an event is missing in a state only where it cannot happen', () => {
  const events = ['start', 'stop', 'reset', 'grab', 'release', 'releaseLast', 'lend', 'reclaim', 'kick'] as const;
  const missing = Object.entries(TRANSITIONS).map(([state, row]) => [state, events.filter((event) => !(event in row))]);
  const ungrabbed = ['release', 'releaseLast', 'lend', 'reclaim'];
  const lent = ['reset', 'releaseLast', 'lend'];
  assert.deepEqual(Object.fromEntries(missing), {
    unassigned: ungrabbed,
    assigned: ungrabbed,
    trapped: ungrabbed,
    grabbed: ['reclaim'],
    grabbedWanted: ['reclaim'],
    lent,
    lentWanted: lent,
  });
});
