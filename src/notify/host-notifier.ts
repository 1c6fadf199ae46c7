// Cellar: who hears the doorbell of a queue: the kernel for our handler, the kernel for somebody else, or we ourselves. Pure.

/**
 * `unassigned` nobody listens; a kick is ignored. `assigned` the kernel rings our eventfd. `trapped` it would not: the kick leaves the
 * guest and we ring the same eventfd. `grabbed` somebody asked us to keep off. `lent` he also took the doorbell for an eventfd of his.
 * `…Wanted`: we are to begin again once nobody has it grabbed any more.
 */
export type NotifierState = 'unassigned' | 'assigned' | 'trapped' | 'grabbed' | 'grabbedWanted' | 'lent' | 'lentWanted';

/**
 * `start`: DRIVER_OK, or the VM runs on. `stop`: DRIVER_OK is gone, or the VM pauses. `reset`: the driver resets the device. `grab` and
 * `release` nest; `releaseLast` is the release that leaves no grab. `lend` and `reclaim`: who grabbed takes the doorbell and gives it
 * back. `kick`: a write to the doorbell left the guest.
 */
export type NotifierEvent =
  | 'start'
  | 'stop'
  | 'reset'
  | 'grab'
  | 'release'
  | 'releaseLast'
  | 'lend'
  | 'reclaim'
  | 'kick';

export type NotifierAction =
  | 'open'
  | 'register'
  | 'attach'
  | 'ring'
  | 'detach'
  | 'unregister'
  | 'drain'
  | 'close'
  | 'clear'
  | 'lend'
  | 'reclaim'
  | 'forward';

export interface Transition {
  readonly to: NotifierState;
  readonly actions: readonly NotifierAction[];
  /** Where it ends instead when the kernel refuses `register`; the other actions are the same. */
  readonly refused?: NotifierState;
}

/** State x event. An event that is not there is a mistake of the caller's. */
export type TransitionTable = { readonly [state in NotifierState]: { readonly [event in NotifierEvent]?: Transition } };

const go = (to: NotifierState, ...actions: readonly NotifierAction[]): Transition => ({ to, actions });

// The driver may have filled the ring already, and rung a doorbell that nobody heard: the handler looks once in any case.
const BEGIN: Transition = { to: 'assigned', refused: 'trapped', actions: ['open', 'register', 'attach', 'ring'] };
// The kernel counts until it is told not to, and what it counted is in the eventfd alone: unregister, then drain, then close.
const END = ['detach', 'unregister', 'drain', 'close'] as const;
const END_TRAPPED = ['detach', 'drain', 'close'] as const;

export const TRANSITIONS: TransitionTable = {
  unassigned: {
    start: BEGIN,
    stop: go('unassigned'),
    reset: go('unassigned', 'clear'),
    grab: go('grabbed'),
    kick: go('unassigned'),
  },
  assigned: {
    start: go('assigned'),
    stop: go('unassigned', ...END),
    reset: go('unassigned', ...END, 'clear'),
    grab: go('grabbedWanted', ...END),
    kick: go('assigned', 'ring'),
  },
  trapped: {
    start: { to: 'assigned', refused: 'trapped', actions: ['register'] },
    stop: go('unassigned', ...END_TRAPPED),
    reset: go('unassigned', ...END_TRAPPED, 'clear'),
    grab: go('grabbedWanted', ...END_TRAPPED),
    kick: go('trapped', 'ring'),
  },
  grabbed: {
    start: go('grabbedWanted'),
    stop: go('grabbed'),
    reset: go('grabbed', 'clear'),
    grab: go('grabbed'),
    release: go('grabbed'),
    releaseLast: go('unassigned'),
    lend: go('lent', 'lend'),
    kick: go('grabbed'),
  },
  grabbedWanted: {
    start: go('grabbedWanted'),
    stop: go('grabbed'),
    reset: go('grabbed', 'clear'),
    grab: go('grabbedWanted'),
    release: go('grabbedWanted'),
    releaseLast: BEGIN,
    lend: go('lentWanted', 'lend'),
    kick: go('grabbedWanted'),
  },
  lent: {
    start: go('lentWanted'),
    stop: go('lent'),
    grab: go('lent'),
    release: go('lent'),
    reclaim: go('grabbed', 'reclaim'),
    kick: go('lent', 'forward'),
  },
  lentWanted: {
    start: go('lentWanted'),
    stop: go('lent'),
    grab: go('lentWanted'),
    release: go('lentWanted'),
    reclaim: go('grabbedWanted', 'reclaim'),
    kick: go('lentWanted', 'forward'),
  },
};

/** An eventfd that the kernel may ring. */
export interface Registration {
  /** Has the kernel ring it. Gives why it will not, if it will not. */
  register(): string | undefined;
  /** Takes it back from the kernel. Gives why it will not; it then still rings. */
  unregister(): string | undefined;
  /** Rings it from here. */
  ring(): void;
  /** Closes it. */
  close(): void;
  /** In place of `close`, where the kernel would not give it back: from now on whatever rings it is a `kick`. */
  keep(): void;
}

/** Our side of a queue: its eventfd, and the handler that serves it. All on the queue's own thread. */
export interface NotifierPort extends Registration {
  /** Makes the eventfd, count 0. */
  open(): void;
  /** From now on rings call the handler. */
  attach(): void;
  /** Once this returns no ring calls the handler. */
  detach(): void;
  /** Calls the handler once if the eventfd was rung since it last looked. */
  drain(): void;
  /** The queue begins anew. */
  clear(): void;
  /** Tells the user one line. */
  say(line: string): void;
}

/** Keeps the doorbell of one queue. Every method returns when the transition is complete. */
export class HostNotifier {
  readonly #port: NotifierPort;
  readonly #table: TransitionTable;
  #state: NotifierState = 'unassigned';
  #grabs = 0;
  #owner: Registration | undefined;
  #ownerRegistered = false;
  readonly #said = new Set<string>();
  #busy = false;

  constructor(port: NotifierPort, table = TRANSITIONS) {
    this.#port = port;
    this.#table = table;
  }

  get state(): NotifierState {
    return this.#state;
  }

  start(): void {
    this.#handle('start');
  }

  /** When this returns no handler runs, and what the kernel had counted was handled. */
  stop(): void {
    this.#handle('stop');
  }

  /** As `stop`, and the queue begins anew. Whoever has it lent gives it back first. */
  reset(): void {
    this.#handle('reset');
  }

  /** A write to the doorbell left the guest. */
  kick(): void {
    this.#handle('kick');
  }

  /** Keeps our handler off until the grab is disposed. Grabs nest. */
  grab(): Grab {
    this.#handle('grab');
    this.#grabs++;
    let lent = false;
    let released = false;
    const reclaim = (): void => {
      if (!lent) return;
      this.#handle('reclaim');
      this.#owner = undefined;
      lent = false;
    };
    return {
      lend: (owner) => {
        if (released) throw new Error('this grab was released');
        this.#lend(owner);
        lent = true;
      },
      reclaim,
      [Symbol.dispose]: () => {
        if (released) return;
        reclaim();
        this.#handle(this.#grabs === 1 ? 'releaseLast' : 'release');
        this.#grabs--;
        released = true;
      },
    };
  }

  #lend(owner: Registration): void {
    if (this.#owner !== undefined) throw new Error(`lend in the state ${this.#state}: somebody else has the doorbell`);
    this.#owner = owner;
    this.#handle('lend');
  }

  #handle(event: NotifierEvent): void {
    const transition = this.#table[this.#state][event];
    if (transition === undefined)
      throw new Error(`${event} in the state ${this.#state}: whoever has it lent gives it back first`);
    if (this.#busy) throw new Error(`${event} while another event is being handled`);
    this.#busy = true;
    try {
      this.#run(transition);
    } finally {
      this.#busy = false;
    }
  }

  /** Without an eventfd there is nothing to begin with. Of the other actions each is done although one before it threw. */
  #run({ to, refused, actions }: Transition): void {
    const problems: unknown[] = [];
    let kept = false;
    if (actions[0] === 'open') this.#port.open();
    this.#state = to;
    for (const action of actions) {
      try {
        if (action === 'open') continue;
        if (action === 'register') this.#state = this.#register(this.#port) ? to : (refused ?? to);
        else if (action === 'unregister') kept = !this.#unregister(this.#port);
        else if (action === 'lend') this.#giveTo(this.#owner as Registration);
        else if (action === 'reclaim') this.#takeFrom(this.#owner as Registration);
        else if (action === 'forward') this.#owner?.ring();
        else if (action === 'close' && kept) this.#port.keep();
        else this.#port[action]();
      } catch (problem) {
        problems.push(problem);
      }
    }
    if (problems.length > 0) throw problems[0];
  }

  #giveTo(owner: Registration): void {
    this.#ownerRegistered = this.#register(owner);
    owner.ring();
  }

  #takeFrom(owner: Registration): void {
    if (!this.#ownerRegistered || this.#unregister(owner)) owner.close();
    else owner.keep();
    this.#ownerRegistered = false;
  }

  #register(registration: Registration): boolean {
    const problem = registration.register();
    if (problem === undefined) this.#said.clear();
    else this.#sayOnce('kicks take the slow path, out of the guest', problem);
    return problem === undefined;
  }

  #unregister(registration: Registration): boolean {
    const problem = registration.unregister();
    if (problem !== undefined) this.#sayOnce('the kernel goes on ringing a doorbell that was given back', problem);
    return problem === undefined;
  }

  /** Until a registration succeeds. */
  #sayOnce(what: string, why: string): void {
    if (!this.#said.has(what)) this.#port.say(`${what}: ${why}`);
    this.#said.add(what);
  }
}

/** A hold on a queue's doorbell. Disposing it reclaims what was lent. */
export interface Grab extends Disposable {
  /** Gives the doorbell to another eventfd, and rings that once: its ring may hold requests. If the kernel refuses, kicks are forwarded. */
  lend(owner: Registration): void;
  /** Takes it back, and closes the eventfd. What it counted last is seen by whoever begins next. */
  reclaim(): void;
}
