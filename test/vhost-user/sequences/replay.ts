// test/vhost-user/sequences: acts as the front end of a recording, with a driver, against a back end of Belfry.
import { type Fields, hasAnswer } from './message-fields.ts';
import type { EventStep, Recording, SaidStep } from './recording.ts';
import { ReplayedDescriptors } from './replayed-descriptors.ts';
import { ReplayedDriver } from './replayed-driver.ts';
import { ReplayedMemory } from './replayed-memory.ts';
import type { RingState } from './ring-state.ts';
import { VhostUserLink } from './vhost-user-link.ts';
import type { WitnessedDisk } from './witnessed-disk.ts';

const PROTOCOL_F_LOG_SHMFD = 1n << 1n;
const F_LOG_ALL = 1n << 26n;
const NO_LOG = '0xffffffffffffffff';

export interface ReplayOptions {
  readonly recording: Recording;
  readonly disk: WitnessedDisk;
  /** Makes sure that a back end serves `disk`, and gives the path of its socket. */
  readonly start: () => string;
  /** Ends that back end as SIGTERM does. */
  readonly end: () => Promise<void>;
  /** Whether requests are left in flight wherever the driver used a ring, for whatever message comes next. */
  readonly busy: boolean;
}

/** The recording asks for what this back end does not offer. */
export class NotOffered extends Error {}

export class Replay implements Disposable {
  readonly #options: ReplayOptions;
  readonly #descriptors: ReplayedDescriptors;
  readonly #memory: ReplayedMemory;
  readonly #driver: ReplayedDriver;
  readonly #problems = new Set<string>();
  #link: VhostUserLink | undefined;
  #offered = 0n;
  #protocolOffered = 0n;
  #step = 0;

  constructor(options: ReplayOptions) {
    const { recording, disk, busy } = options;
    this.#options = options;
    this.#descriptors = new ReplayedDescriptors(recording);
    this.#memory = new ReplayedMemory(this.#descriptors);
    const problem = (what: string): void => this.#problem(what);
    this.#driver = new ReplayedDriver({ disk, descriptors: this.#descriptors, busy, problem });
  }

  /** Plays it all. Returns one line for each thing that was wrong. Throws NotOffered. */
  async run(): Promise<readonly string[]> {
    try {
      for (const [index, step] of this.#options.recording.steps.entries()) {
        this.#step = index + 1;
        if ('event' in step) await this.#happens(step);
        else if (step.from === 'front end') await this.#says(step, this.#answerTo(index));
        this.#driver.lookAtStoppedRings();
      }
    } catch (error) {
      if (error instanceof NotOffered) throw error;
      this.#problem(`the replay ends here: ${(error as Error).message}`);
    }
    this.#driver.lookAtDisk();
    return [...this.#problems];
  }

  #problem(what: string): void {
    this.#problems.add(`step ${this.#step}: ${what}`);
  }

  /** What was recorded as the answer to the message at `index`, which comes before any other message. */
  #answerTo(index: number): Fields {
    const next = this.#options.recording.steps[index + 1];
    return (next !== undefined && 'from' in next && next.from === 'back end' && next.payload) || {};
  }

  async #happens({ event }: EventStep): Promise<void> {
    if (event === 'connected') this.#link = VhostUserLink.connect(this.#options.start());
    if (event === 'requests') await this.#driver.useRings();
    if (event === 'closed by the back end') {
      await this.#options.end();
      this.#driver.lostBackEnd();
    }
    if (!event.startsWith('closed')) return;
    this.#link?.[Symbol.dispose]();
    this.#driver.disconnected();
  }

  /** Sends a message with our own memory, descriptors and numbers in it, and looks at the answer. */
  async #says({ request, payload = {}, fds = [], flags = [] }: SaidStep, recorded: Fields): Promise<void> {
    const link = this.#link as VhostUserLink;
    const needsReply = flags.includes('NEED_REPLY');
    const fields = request.includes('VRING')
      ? this.#ringMessage(request, this.#driver.ring(ringIndex(payload)), payload, fds)
      : this.#deviceMessage(request, payload, fds);
    const sent = fds.map((name) => this.#descriptors.fd(name));
    link.send(request, fields, sent, needsReply);
    if (!needsReply && !hasAnswer(request)) return;
    const answer = await link.answer(request);
    if (!hasAnswer(request) && answer.value !== '0x0') this.#problem(`${request} was refused: ${answer.value}`);
    this.#answered(request, fields, answer, recorded);
  }

  /** What to send in the place of what was recorded. */
  #deviceMessage(request: string, recorded: Fields, fds: readonly string[]): Fields {
    switch (request) {
      case 'SET_OWNER':
        this.#driver.writeback = undefined;
        this.#memory.forget();
        break;
      case 'SET_FEATURES':
        this.#driver.features = bits(recorded) & this.#offered;
        return { value: hex(this.#driver.features) };
      case 'SET_PROTOCOL_FEATURES':
        return { value: hex(bits(recorded) & this.#protocolOffered) };
      case 'SET_CONFIG':
        this.#driver.writeback = Number((recorded.config as Fields).writeback ?? this.#driver.writeback);
        break;
      case 'SET_MEM_TABLE':
        this.#memory.set(recorded.regions as readonly Fields[], fds);
        break;
      case 'ADD_MEM_REG':
        this.#memory.add(recorded, fds[0] as string);
        break;
      case 'REM_MEM_REG':
        this.#memory.remove(recorded);
        break;
      case 'SET_LOG_BASE':
        if ((this.#protocolOffered & PROTOCOL_F_LOG_SHMFD) === 0n)
          throw new NotOffered('the back end does not offer VHOST_USER_PROTOCOL_F_LOG_SHMFD');
    }
    return recorded;
  }

  #ringMessage(request: string, state: RingState, recorded: Fields, fds: readonly string[]): Fields {
    switch (request) {
      case 'SET_VRING_NUM':
        state.size = Number(recorded.num);
        break;
      case 'SET_VRING_BASE':
        return { ...recorded, num: state.baseFor(Number(recorded.num)) };
      case 'SET_VRING_ADDR':
        return this.#address(state, recorded);
      case 'SET_VRING_KICK':
        state.kick = fds[0];
        state.stoppedAt = undefined;
        break;
      case 'SET_VRING_CALL':
        state.call = fds[0];
        break;
      case 'SET_VRING_ENABLE':
        state.isEnabled = recorded.num === 1;
        if (state.isEnabled) state.stoppedAt = undefined;
    }
    return recorded;
  }

  #address(state: RingState, recorded: Fields): Fields {
    const { features } = this.#driver;
    const { memory, user } = this.#memory.ofRing(state.index);
    const { ring, replaced } = state.place(memory, features);
    if (replaced !== undefined) this.#driver.gaveUp(replaced);
    const { descriptorArea, driverArea, deviceArea } = ring.queue.addresses;
    const at = (address: number): string => hex(user + address - memory.guestAddress);
    const addresses = { descriptor: at(descriptorArea), used: at(deviceArea), available: at(driverArea) };
    const log = recorded.log === NO_LOG ? NO_LOG : hex(deviceArea);
    const flags = (features & F_LOG_ALL) === 0n ? 0 : Number(recorded.flags);
    return { index: state.index, flags, ...addresses, log };
  }

  #answered(request: string, sent: Fields, answer: Fields, recorded: Fields): void {
    switch (request) {
      case 'GET_FEATURES':
        this.#offered = bits(answer);
        break;
      case 'GET_PROTOCOL_FEATURES':
        this.#protocolOffered = bits(answer);
        break;
      case 'GET_STATUS':
        if (answer.value !== recorded.value) this.#problem(`the status is ${answer.value}, not ${recorded.value}`);
        break;
      case 'GET_CONFIG':
        this.#lookAtWriteback((answer.config as Fields).writeback as number | undefined);
        break;
      case 'SET_VRING_ENABLE':
        if (sent.num === 0) this.#driver.stopped(this.#driver.ring(Number(sent.index)));
        break;
      case 'GET_VRING_BASE':
        this.#driver.hasBase(this.#driver.ring(Number(sent.index)), Number(answer.num), Number(recorded.num));
    }
  }

  #lookAtWriteback(now: number | undefined): void {
    if (now === undefined) return;
    const chosen = this.#driver.writeback;
    if (chosen !== undefined && now !== chosen) this.#problem(`writeback reads as ${now}, the driver chose ${chosen}`);
    this.#driver.writeback ??= now;
  }

  [Symbol.dispose](): void {
    this.#link?.[Symbol.dispose]();
    this.#descriptors[Symbol.dispose]();
  }
}

/** SET_VRING_KICK, _CALL and _ERR have it in the low byte of a number. */
function ringIndex(fields: Fields): number {
  return Number(fields.index ?? bits(fields) & 0xffn);
}

function bits({ value }: Fields): bigint {
  return BigInt(value as string);
}

function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
