// bench/stress: the state of each side of the queue, in memory that the watcher reads; only its own thread writes it.

/** Whether a side runs, polls or sleeps: a side that sleeps has to be woken. */
export const PHASES = ['working', 'polling', 'asleep'] as const;
export type Phase = (typeof PHASES)[number];

const FIELDS = ['phase', 'index', 'inFlight', 'done', 'sleeps', 'sent', 'lastSentMs', 'seen', 'lastSeenMs'] as const;
type Field = (typeof FIELDS)[number];

export interface SideState {
  readonly phase: Phase;
  /** Its position in the other side's ring: the device popped up to it, the driver took completions up to it. */
  readonly index: number;
  readonly inFlight: number;
  /** Requests completed by the device, or taken back by the driver. */
  readonly done: number;
  /** Times it slept. */
  readonly sleeps: number;
  /** Notifications it sent and received, and when the last ones were, in ms since the epoch. */
  readonly sent: number;
  readonly lastSentMs: number;
  readonly seen: number;
  readonly lastSeenMs: number;
}

export class SideWords {
  /** What another thread passes to the constructor to see the same words. */
  readonly shared: SharedArrayBuffer;
  readonly #words: Float64Array;

  constructor(shared = new SharedArrayBuffer(FIELDS.length * 8)) {
    this.shared = shared;
    this.#words = new Float64Array(shared);
  }

  set phase(phase: Phase) {
    this.#set('phase', PHASES.indexOf(phase));
  }

  /** Records a wake-up. */
  slept(): void {
    this.#set('sleeps', this.#get('sleeps') + 1);
    this.phase = 'working';
  }

  /** Records a notification, before it is sent. */
  sends(): void {
    this.#set('sent', this.#get('sent') + 1);
    this.#set('lastSentMs', Date.now());
  }

  /** Records that `count` notifications have been received by now. */
  saw(count: number): void {
    if (this.#get('seen') === count) return;
    this.#set('seen', count);
    this.#set('lastSeenMs', Date.now());
  }

  at(index: number, inFlight: number, done: number): void {
    this.#set('index', index);
    this.#set('inFlight', inFlight);
    this.#set('done', done);
  }

  read(): SideState {
    return {
      phase: PHASES[this.#get('phase')] as Phase,
      index: this.#get('index'),
      inFlight: this.#get('inFlight'),
      done: this.#get('done'),
      sleeps: this.#get('sleeps'),
      sent: this.#get('sent'),
      lastSentMs: this.#get('lastSentMs'),
      seen: this.#get('seen'),
      lastSeenMs: this.#get('lastSeenMs'),
    };
  }

  clear(): void {
    this.#words.fill(0);
  }

  #get(field: Field): number {
    return this.#words[FIELDS.indexOf(field)] as number;
  }

  #set(field: Field, value: number): void {
    this.#words[FIELDS.indexOf(field)] = value;
  }
}
