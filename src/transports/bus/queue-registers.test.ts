// A queue over every order of events: hand-overs between hosts, pause, reset, while the driver makes requests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLoop } from '../../sys/event-loop.ts';
import type { Chooser } from '../../testing/chooser.ts';
import { type Bell, DoorbellKernel } from '../../testing/doorbell-kernel.ts';
import { type ExploredWorld, explore } from '../../testing/explore.ts';
import { importWithMistake } from '../../testing/mutant.ts';
import { DeviceStatus, VIRTIO_F_VERSION_1 } from '../../virtio/spec.ts';
import type { DeviceEvents, DeviceHost, QueueSetup, QueueStop } from '../queue/queue-host.ts';
import { DeviceRegisters, type DriverLines } from './device-registers.ts';

const { ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = DeviceStatus;
const DEVICE = { type: 2, features: 0n, queueSizes: [2] };

/** The call that a host has not answered yet. */
type Pending =
  | {
      readonly what: 'start';
      readonly setup: QueueSetup;
      hasLooked: boolean;
      readonly answer: PromiseWithResolvers<void>;
    }
  | { readonly what: 'stop'; readonly answer: PromiseWithResolvers<QueueStop> };

/** A host whose answers are steps of the walk. */
class Host implements DeviceHost {
  readonly device = DEVICE;
  events: DeviceEvents | undefined;
  readonly #world: World;
  pending: Pending | undefined;
  /** The eventfd that it watches. */
  bell: Bell | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  start(_index: number, setup: QueueSetup): Promise<void> {
    this.#world.checkStart(setup);
    const answer = Promise.withResolvers<void>();
    this.pending = { what: 'start', setup, hasLooked: false, answer };
    return answer.promise;
  }

  stop(): Promise<QueueStop> {
    this.#world.kernel.must(this.bell !== undefined && this.pending === undefined, 'a host stops what it does not run');
    const answer = Promise.withResolvers<QueueStop>();
    this.pending = { what: 'stop', answer };
    return answer.promise;
  }

  async setMemory(): Promise<void> {}
  async setCall(): Promise<void> {}
  async activate(): Promise<void> {}
  async reset(): Promise<void> {}

  async writeConfig(): Promise<boolean> {
    return true;
  }

  /** Does the next step of the pending call. */
  advance(): void {
    const { pending } = this;
    if (pending?.what === 'stop') {
      this.bell = undefined;
      this.#world.kernel.meanwhile();
      this.pending = undefined;
      pending.answer.resolve({ base: this.#world.stopAt(), broken: false });
    } else if (pending?.hasLooked === false) {
      this.bell = this.#world.kernel.latest;
      this.#world.kernel.meanwhile();
      this.#world.kernel.isOwed = false;
      pending.hasLooked = true;
    } else {
      this.pending = undefined;
      pending?.answer.resolve();
    }
  }

  /** Rejects the pending start. */
  refuse(): void {
    const { pending } = this;
    this.pending = undefined;
    this.bell = undefined;
    pending?.answer.reject(new Error('no room'));
  }

  /** Handles the signal of its eventfd. */
  readKick(): void {
    this.bell?.eventFd.clear();
    this.#world.kernel.meanwhile();
    this.#world.kernel.isOwed = false;
    this.#world.kernel.meanwhile();
  }

  get situation(): unknown {
    const { pending } = this;
    return [pending?.what, pending?.what === 'start' && pending.hasLooked, this.bell !== undefined];
  }
}

/** A step of the registers that is not done yet. */
interface Move {
  readonly what: 'drive' | 'reset' | 'pause' | 'resume' | 'move' | 'move back';
  readonly done: Promise<void>;
}

/** The most moves at a time. */
const MOVES_MAX = 2;

type Beginning = 'as made' | 'with a running queue';

class World implements ExploredWorld {
  readonly kernel: DoorbellKernel;
  readonly #choose: Chooser;
  readonly #loop = new EventLoop();
  readonly #registers: DeviceRegisters;
  readonly #own = new Host(this);
  readonly #other = new Host(this);
  readonly #logged: string[] = [];
  readonly #moves: Move[] = [];
  /** The state after the moves that are done. */
  #isPaused = false;
  #isMoved = false;
  /** Where the queue has to go on: 0 after a reset, 1 after it was stopped. */
  #base = 0;
  #failures: string[] = [];
  #isClosing = false;
  #begins: Beginning;

  constructor(choose: Chooser, begins: Beginning, implementation = DeviceRegisters) {
    this.#choose = choose;
    this.#begins = begins;
    this.kernel = new DoorbellKernel(choose);
    const lines: DriverLines = {
      assignDoorbell: (_queue, eventFd) => this.kernel.assign(eventFd),
      call: () => undefined,
      configChanged: () => {},
      reset: () => {
        this.kernel.isOwed = false;
        this.#base = 0;
      },
      log: (line) => void this.#logged.push(line),
    };
    this.#registers = new implementation(this.#own, this.#loop, lines);
  }

  get #hosts(): readonly Host[] {
    return [this.#own, this.#other];
  }

  /** The host that has the queue, or is about to. */
  get #user(): Host | undefined {
    return this.#hosts.find(({ pending, bell }) => pending !== undefined || bell !== undefined);
  }

  checkStart(setup: QueueSetup): void {
    this.kernel.must(this.#user === undefined, 'two hosts have one queue');
    this.kernel.must(setup.kickFd === this.kernel.latest?.eventFd.fd, 'host and kernel have different eventfds');
    this.kernel.must(setup.base === this.#base, 'the queue goes on elsewhere than it stopped');
  }

  stopAt(): number {
    this.#base = 1;
    return this.#base;
  }

  // What the driver and the machine do.

  get #isDriven(): boolean {
    const isReset = this.#moves.some(({ what }) => what === 'reset');
    return (this.#registers.status & DRIVER_OK) !== 0 && !isReset;
  }

  #move(what: Move['what'], step: () => void | Promise<void>): void {
    const done = Promise.resolve(step());
    const move = { what, done };
    this.#moves.push(move);
    const end = (isDone: boolean): void => {
      this.#moves.splice(this.#moves.indexOf(move), 1);
      if (what === 'pause' || what === 'resume') this.#isPaused = what === 'pause';
      if (what === 'move' || what === 'move back') this.#isMoved = what === 'move' && isDone;
    };
    done.then(
      () => end(true),
      (problem: Error) => {
        if (what !== 'move' || problem.message !== 'no room') this.#failures.push(`${what}: ${problem.message}`);
        end(false);
      },
    );
  }

  /** Negotiates, sets the queue up, and sets DRIVER_OK. */
  async #drive(): Promise<void> {
    const registers = this.#registers;
    const steps = [registers.writeStatus(ACKNOWLEDGE | DRIVER)];
    registers.acceptWord(1, Number(VIRTIO_F_VERSION_1 >> 32n));
    steps.push(registers.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK));
    steps.push(registers.setReady(0, true));
    steps.push(registers.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK));
    await Promise.all(steps);
  }

  get #possibleMoves(): (() => void)[] {
    const registers = this.#registers;
    const moves = [
      () => this.#move('move', () => registers.moveTo(this.#other)),
      () => this.#move('move back', () => registers.moveBack()),
      () => this.#move('pause', () => registers.pause()),
      () => this.#move('resume', () => registers.resume()),
    ];
    if (registers.status === 0) moves.push(() => this.#move('drive', () => this.#drive()));
    if (this.#isDriven) moves.push(() => this.#move('reset', () => registers.writeStatus(0)));
    return moves;
  }

  /** The events that can happen now and change something. */
  get #events(): (() => void)[] {
    const events = this.#moves.length < MOVES_MAX ? this.#possibleMoves : [];
    if (this.#isDriven) events.push(() => this.kernel.guestRings());
    if (this.kernel.trapped > 0) events.push(() => this.#deliverTrapped());
    if (this.kernel.kept.some(({ isRung }) => isRung)) events.push(() => void this.#loop.turn(0));
    const user = this.#user;
    if (user?.pending !== undefined) events.push(() => user.advance());
    if (user?.pending?.what === 'start' && this.kernel.refusals) events.push(() => user.refuse());
    if (user?.bell?.isRung === true) events.push(() => user.readKick());
    return events;
  }

  /** Delivers the trapped writes to the doorbell. */
  #deliverTrapped(): void {
    this.kernel.trapped = 0;
    this.#registers.kick(0);
  }

  async step(): Promise<void> {
    if (this.#begins === 'with a running queue') await this.#begin();
    this.kernel.during(this.#choose.of(this.#events));
    await this.#settle();
    this.#check();
  }

  /** The first steps have no choices: the own host runs the queue. */
  async #begin(): Promise<void> {
    this.#begins = 'as made';
    const { refusals } = this.kernel;
    this.kernel.refusals = false;
    this.#move('drive', () => this.#drive());
    await this.#settleAll();
    this.kernel.refusals = refusals;
  }

  /** Lets all pending microtasks run: the next tick comes after them. */
  async #settle(): Promise<void> {
    await new Promise<void>((resolve) => process.nextTick(resolve));
  }

  // Invariants between events.

  #check(): void {
    assert.deepEqual(this.#failures, []);
    const user = this.#user;
    this.kernel.check(user && this.kernel.latest);
    assert.ok(this.#hosts.filter(({ bell }) => bell !== undefined).length <= 1, 'two hosts listen');
    if (user?.bell !== undefined) {
      assert.ok(user.bell.isOpen, 'a doorbell is closed while a host listens to it');
      if (this.kernel.isOwed)
        assert.ok(this.kernel.isKickComing(user.bell), 'a request is in the ring and no kick is coming');
    }
    if (this.#moves.length === 0) this.#checkRest();
  }

  /** With no move pending: the queue runs if and only if it should, on the right host. */
  #checkRest(): void {
    const { status, queues } = this.#registers;
    const needsReset = (status & DEVICE_NEEDS_RESET) !== 0;
    const mayRun = (status & DRIVER_OK) !== 0 && queues[0]?.ready === true && !this.#isPaused;
    const [runs, rests] = this.#isMoved ? [this.#other, this.#own] : [this.#own, this.#other];
    assert.equal(rests.bell, undefined, 'the wrong host runs the queue');
    if (!needsReset) assert.equal(runs.bell !== undefined, mayRun, `the queue ${mayRun ? 'rests' : 'runs'}`);
    const problems = this.kernel.problems.map((line) => `queue 0: ${line}`);
    for (const line of problems) assert.ok(this.#logged.includes(line), `the user is not told: ${line}`);
  }

  get situation(): string {
    const { status, queues } = this.#registers;
    const registers = [status, queues[0]?.ready, this.#isPaused, this.#isMoved, this.#base];
    const moves = this.#moves.map(({ what }) => what);
    return JSON.stringify([registers, moves, this.#hosts.map((host) => host.situation), this.kernel.situation]);
  }

  /** Advances until no move is pending. */
  async #settleAll(): Promise<void> {
    for (let rounds = 0; this.#moves.length > 0; rounds++) {
      assert.ok(rounds < 100, 'a pending move is never done');
      this.#user?.advance();
      await this.#settle();
    }
    if (this.kernel.trapped > 0) this.#deliverTrapped();
    for (let turns = 0; turns < 3; turns++) {
      this.#loop.turn(0);
      if (this.#user?.bell?.isRung === true) this.#user.readKick();
    }
    await this.#settle();
    this.#check();
  }

  /** Runs the queue, and checks that no request was lost. */
  async conclude(): Promise<void> {
    this.kernel.refusals = false;
    await this.#settleAll();
    const registers = this.#registers;
    if ((registers.status & DEVICE_NEEDS_RESET) !== 0) this.#move('reset', () => registers.writeStatus(0));
    await this.#settleAll();
    this.#move('resume', () => registers.resume());
    this.#move('move back', () => registers.moveBack());
    await this.#settleAll();
    if (registers.status === 0) this.#move('drive', () => this.#drive());
    for (const _ of [1, 2]) {
      await this.#settleAll();
      assert.equal(this.kernel.isOwed, false, 'a request was lost');
      assert.ok(!this.kernel.bells.some(({ isRung }) => isRung), 'a count stays');
      this.kernel.guestRings();
    }
    await this.#close();
    this.kernel.check(undefined);
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    let isClosed = false;
    this.#registers.close().then(
      () => {
        isClosed = true;
      },
      (problem: Error) => this.#failures.push(`close: ${problem.message}`),
    );
    for (let rounds = 0; !isClosed && rounds < 20; rounds++) {
      this.#user?.advance();
      await this.#settle();
    }
    assert.deepEqual([isClosed, this.#failures], [true, []], 'it does not close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kernel.refusals = false;
    if (!this.#isClosing) await this.#close();
    this.kernel[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
  }
}

for (const [begins, depth] of [
  ['as made', 5],
  ['with a running queue', 6],
] as const) {
  test(`every sequence of ${depth} events, beginning ${begins}: one host has the queue, and no kick is lost`, async (t) => {
    const { situations, steps } = await explore((choose) => new World(choose, begins), depth);
    t.diagnostic(`${situations} situations, ${steps} events from them`);
    assert.ok(situations > 500);
  });
}

const LOST = /a request was lost|no kick is coming/;
const TWO = /two hosts|two doorbells/;
const WRONG_HOST = /the queue (runs|rests)|the wrong host/;

type Mistake = readonly [name: string, from: string, to: string, complaint: RegExp];

const inQueue: readonly Mistake[] = [
  [
    'kicks that are passed on only when the host has answered',
    '    this.#running = running;\n    try {\n      await host.start(index, this.#setup(features, running));\n',
    '    try {\n      await host.start(index, this.#setup(features, running));\n      this.#running = running;\n',
    LOST,
  ],
  [
    'a doorbell closed before the host has stopped',
    'const { base, broken } = await',
    'running.doorbell.close();\n    const { base, broken } = await',
    /is open that nothing needs, or closed too early/,
  ],
  ['a doorbell that stays open after a stop', '    running.doorbell.close();\n', '', TWO],
  ['a doorbell that stays open after a refusal', '      doorbell.close();\n', '', TWO],
  [
    'a queue that counts as running after a refusal',
    '      this.#running = undefined;\n      doorbell',
    '      doorbell',
    /stops what it does not run|the queue rests/,
  ],
  ['a place in the ring that is forgotten', '    this.#base = base;\n', '', /goes on elsewhere/],
  ['a place in the ring that outlives a reset', '    this.#base = undefined;\n', '', /goes on elsewhere/],
  ['late rings that are dropped', 'lateRing: () => this.kick(),', 'lateRing: () => {},', LOST],
  ['kicks that are dropped', '    this.#running?.doorbell.ring();\n', '', LOST],
  ['a reset that does not stop the queue', '    await this.stop();\n', '', /is open that nothing needs/],
  ['a queue that is started twice', 'if (this.#running !== undefined || this.#broken) return;', '', TWO],
];

const inDevice: readonly Mistake[] = [
  ['a hand-over that stops nothing', '    await this.#stopQueues();\n    // Its own', '    // Its own', WRONG_HOST],
  ['steps that do not wait for one another', 'this.#turn.then(step)', 'step()', /./],
  ['a failed hand-over that does not go back', '        await this.#attachOwn();\n', '', WRONG_HOST],
  [
    'a hand-over to the host that had the queue',
    'start(this.#features, host)',
    'start(this.#features, this.#own)',
    WRONG_HOST,
  ],
  ['a pause that a start does not heed', 'queue.ready && !this.#paused', 'queue.ready', WRONG_HOST],
  ['a pause that stops nothing', '      await this.#stopQueues();\n    });', '    });', WRONG_HOST],
  ['a resume that starts nothing', '      return this.#startQueues();', '      return Promise.resolve();', WRONG_HOST],
  ['a kick that the device drops', 'this.queues[index]?.kick();', 'void index;', LOST],
];

const entry = new URL('./device-registers.ts', import.meta.url);
const queueRegisters = new URL('./queue-registers.ts', import.meta.url);

for (const [module, mistakes] of [
  [queueRegisters, inQueue],
  [entry, inDevice],
] as const) {
  for (const [name, from, to, complaint] of mistakes) {
    test(`the walk notices ${name}`, async () => {
      const mutant = await importWithMistake<typeof import('./device-registers.ts')>(entry, { module, from, to });
      const open = (choose: Chooser) => new World(choose, 'with a running queue', mutant.DeviceRegisters);
      await assert.rejects(explore(open, 6), complaint);
    });
  }
}
