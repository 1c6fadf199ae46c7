// test/fuzz: a front end that sends messages of every kind in random order, with wrong values, and writes into the rings.
import { EventFd } from '../../src/sys/event-fd.ts';
import { SystemError } from '../../src/sys/libc.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import {
  addMemReg,
  type RawFrontEnd,
  type RawMessage,
  remMemReg,
  setMemTable,
  setU64,
} from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import type { SeededRandom } from '../../src/testing/seeded-random.ts';
import { encodeConfig, encodeMessage, encodeVringState } from '../../src/transports/vhost-user/protocol/message.ts';
import { F_PROTOCOL_FEATURES, NEED_REPLY, Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { FEATURES } from '../vhost-user/back-end.ts';

const MESSAGES_MAX = 40;
const requests = Object.values(Request);
const bare = [
  Request.GET_FEATURES,
  Request.RESET_OWNER,
  Request.RESET_DEVICE,
  Request.GET_STATUS,
  Request.SET_OWNER,
] as const;

export class HostileFrontEnd implements Disposable {
  readonly #random: SeededRandom;
  readonly #front: RawFrontEnd;
  readonly #resize: (sizeBytes: number) => void;
  readonly #guests: readonly RawGuest[];
  readonly #rings: readonly RawRing[];
  readonly #spare = EventFd.create();
  #isSecondShared = false;

  /** `resize` changes the disk. */
  constructor(random: SeededRandom, front: RawFrontEnd, resize: (sizeBytes: number) => void) {
    this.#random = random;
    this.#front = front;
    this.#resize = resize;
    this.#guests = [new RawGuest(), new RawGuest({ guestAddress: 64 << 20, sizeBytes: 64 * 1024, mmapOffset: 4096 })];
    this.#rings = [0, 1, 2, 3].map((index) => (this.#guests[0] as RawGuest).ring(index, FEATURES, 8));
  }

  /** Sends messages until the back end closes the connection, or a random end. */
  async misbehave(): Promise<void> {
    const random = this.#random;
    try {
      // Half of them come far enough to have something to break.
      if (random.flip()) for (const message of this.#properStart()) this.#front.send(message);
      for (let left = random.below(MESSAGES_MAX); left > 0 && this.#front.skim(); left--) {
        if (random.oneIn(3)) this.#disturb();
        else this.#say();
        if (random.oneIn(4)) await new Promise((resolve) => setImmediate(resolve));
      }
      // Most wait for the replies, the others disconnect in the middle.
      for (let turns = random.oneIn(4) ? 0 : 50; turns > 0 && this.#front.skim(); turns--)
        await new Promise((resolve) => setImmediate(resolve));
    } catch (error) {
      // The back end closed the connection meanwhile, or does not keep up with us.
      if (!(error instanceof SystemError && ['EPIPE', 'ECONNRESET', 'EAGAIN'].includes(error.code))) throw error;
    }
  }

  #properStart(): RawMessage[] {
    const [guest] = this.#guests as readonly [RawGuest];
    const features = setU64(Request.SET_FEATURES, FEATURES | F_PROTOCOL_FEATURES);
    return [features, setMemTable([guest.region]), ...this.#rings.flatMap((ring) => ring.start())];
  }

  /** The driver's part: requests and kicks, and scribbles; and a disk that changes its size. */
  #disturb(): void {
    const random = this.#random;
    const ring = random.of(this.#rings);
    const { queue } = ring.driver;
    const deed = random.below(5);
    if (deed <= 1 && queue.freeDescriptors >= 3) ring.submitQuietly(blockRequest.read(random.below(100), 512));
    if (deed === 2) queue.available[random.below(2 + ring.size)] = random.below(40);
    if (deed === 3) queue.descriptors[random.below(4 * ring.size)] = random.uint32() & (random.flip() ? 0xffff : -1);
    if (deed === 4) this.#resize(512 * random.below(129));
    ring.kick.signal();
  }

  #say(): void {
    const message = this.#message();
    const { request, payload = new Uint8Array(0), fds = [] } = message;
    const flags = this.#random.flip() ? NEED_REPLY : 0;
    if (!this.#random.oneIn(25)) return this.#front.send({ ...message, flags });
    this.#mutate(encodeMessage(request, flags, payload), fds);
  }

  #mutate(bytes: Uint8Array, fds: readonly number[]): void {
    const random = this.#random;
    const deed = random.below(4);
    if (deed === 0) bytes[random.below(bytes.length)] = random.below(256);
    if (deed === 1) return this.#front.sendBytes(bytes.subarray(0, 1 + random.below(bytes.length)), fds);
    if (deed === 2) return this.#front.sendBytes(bytes, random.flip() ? [] : [...fds, this.#spare.fd]);
    if (deed === 3) return this.#front.sendBytes(encodeMessage(random.of(requests), 0, bytes.subarray(12)), fds);
    this.#front.sendBytes(bytes, fds);
  }

  /** Mostly a message that is valid in this state, sometimes one that is not. */
  #message(): RawMessage {
    const random = this.#random;
    const ring = random.of(this.#rings);
    const fd = random.of([ring.kick.fd, ring.call.fd, ring.err.fd, this.#spare.fd, undefined]);
    const notifier = random.of([Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR]);
    const config = encodeConfig(random.below(70), new Uint8Array(random.below(40)));
    if (random.oneIn(20)) return this.#lie(ring);
    return random.of<() => RawMessage>([
      () => random.of(ring.start(random.of([0, 0, 1, 65535]))),
      () => random.of(ring.start()),
      () => ring.enable(random.flip()),
      () => ring.getBase,
      () => ring.notifier(notifier, fd),
      () => ({ ...ring.setNum, payload: encodeVringState(ring.index, 2 ** random.below(5)) }),
      () => this.#changeMemory(),
      () => this.#changeMemory(),
      () => setU64(Request.SET_FEATURES, FEATURES | (random.flip() ? F_PROTOCOL_FEATURES : 0n)),
      () => setU64(Request.SET_STATUS, BigInt(random.of([0, 1, 15, 255]))),
      () => ({ request: random.of(bare) }),
      () => ({ request: random.of([Request.GET_CONFIG, Request.SET_CONFIG]), payload: config }),
    ])();
  }

  #lie(ring: RawRing): RawMessage {
    const random = this.#random;
    const { region } = random.of(this.#guests);
    const field = random.of(['guestAddress', 'sizeBytes', 'userAddress', 'mmapOffset'] as const);
    const lied = { ...region, [field]: random.of([0, 4096, 1 << 16, 2 ** 40, 2 ** 52]) };
    return random.of<() => RawMessage>([
      () => ({ request: random.of(requests), payload: encodeVringState(random.below(5), random.of([0, 3, 65536])) }),
      () => setMemTable([lied]),
      () => addMemReg(lied),
      () => remMemReg(lied),
      () => ({ ...ring.setKick, fds: [ring.kick.fd, ring.call.fd] }),
      () => ({ request: Request.SET_BACKEND_REQ_FD, fds: [this.#spare.fd] }),
    ])();
  }

  #changeMemory(): RawMessage {
    if (this.#random.flip()) {
      this.#isSecondShared = this.#random.flip();
      return setMemTable(this.#guests.slice(0, this.#isSecondShared ? 2 : 1).map(({ region }) => region));
    }
    const { region } = this.#guests[1] as RawGuest;
    this.#isSecondShared = !this.#isSecondShared;
    return this.#isSecondShared ? addMemReg(region) : remMemReg(region);
  }

  [Symbol.dispose](): void {
    this.#front[Symbol.dispose]();
    this.#spare[Symbol.dispose]();
    for (const guest of this.#guests) guest[Symbol.dispose]();
  }
}
