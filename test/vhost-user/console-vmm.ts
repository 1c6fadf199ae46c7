// test/vhost-user: a VMM with a console: the front end, and the driver of the guest behind it.
import assert from 'node:assert/strict';
import {
  CONTROL_RECEIVEQ,
  CONTROL_TRANSMITQ,
  EVENT,
  RECEIVEQ,
  receiveQueueOf,
  TRANSMITQ,
} from '../../src/devices/console/spec.ts';
import type { SystemError } from '../../src/sys/libc.ts';
import { ChainDriver } from '../../src/testing/chain-driver.ts';
import { eventually, RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { controlBytes, controlText } from '../reference/console-guest.ts';
import { ConsoleDriver } from '../spec/driven-console.ts';
import { FEATURES, type Listening, negotiate } from './back-end.ts';

/** A front end and the console's driver in its guest. The rings outlive the front end: another can go on with them. */
export class ConsoleVmm implements Disposable {
  readonly guest = new RawGuest();
  readonly rings: readonly RawRing[] = [RECEIVEQ, TRANSMITQ].map((index) => this.guest.ring(index, FEATURES));
  readonly driver: ConsoleDriver;
  front!: RawFrontEnd;

  constructor() {
    const [receive, transmit] = this.rings.map(({ driver }) => new ChainDriver(this.guest.memory, driver.queue));
    this.driver = new ConsoleDriver(receive!, transmit!, (index) => this.rings[index]?.kick.signal());
  }

  /** A VMM connects and starts the rings at the base of the one before it. */
  async connect(backEnd: Pick<Listening, 'connect'>, bases = [0, 0]): Promise<void> {
    this.front = backEnd.connect();
    await negotiate(this.front);
    await this.#start(bases);
  }

  async #start(bases: readonly number[]): Promise<void> {
    const starts = this.rings.flatMap((ring, i) => ring.start(bases[i]));
    await this.front.settle(setMemTable([this.guest.region]), ...starts, setU64(Request.SET_STATUS, 15n));
  }

  /** As QEMU does on `stop`; returns the bases. */
  async stop(): Promise<number[]> {
    this.front.send(setU64(Request.SET_STATUS, 0n));
    const bases: number[] = [];
    for (const ring of this.rings) {
      this.front.send(ring.enable(false));
      bases.push((await this.front.ask(ring.getBase)).payload.getUint32(4, true));
    }
    return bases;
  }

  /** As QEMU does on `cont`. */
  cont(bases: readonly number[]): Promise<void> {
    return this.#start(bases);
  }

  [Symbol.dispose](): void {
    this.front[Symbol.dispose]();
    this.guest[Symbol.dispose]();
  }
}

/** Waits until something listens at `path`, and connects. */
export async function frontEndAt(path: string): Promise<RawFrontEnd> {
  let front: RawFrontEnd | undefined;
  // The file of the socket is there a moment before it listens.
  await eventually('it listens', () => {
    try {
      front = RawFrontEnd.connect(path);
    } catch (error) {
      if (!['ENOENT', 'ECONNREFUSED'].includes((error as SystemError).code)) throw error;
    }
    return front !== undefined;
  });
  return front as RawFrontEnd;
}

const CONTROL_BUFFERS = 8;

/** A VMM whose guest has set up ports 1 to `ports` of a console. */
export class PortsVmm implements Disposable {
  readonly guest = new RawGuest();
  readonly #rings: readonly RawRing[];
  readonly #chains: readonly ChainDriver[];
  readonly #heard: string[] = [];
  #front!: RawFrontEnd;

  private constructor(ports: number) {
    this.#rings = Array.from({ length: receiveQueueOf(ports) + 2 }, (_, i) => this.guest.ring(i, FEATURES));
    this.#chains = this.#rings.map(({ driver }) => new ChainDriver(this.guest.memory, driver.queue));
  }

  /** Connects, starts the rings, and says that the ports are ready. */
  static async at(path: string, ports: number): Promise<PortsVmm> {
    const vmm = new PortsVmm(ports);
    vmm.#front = await frontEndAt(path);
    await negotiate(vmm.#front);
    const starts = vmm.#rings.flatMap((ring) => ring.start(0));
    await vmm.#front.settle(setMemTable([vmm.guest.region]), ...starts, setU64(Request.SET_STATUS, 15n));
    vmm.say(0, EVENT.DEVICE_READY, 1);
    for (let id = 1; id <= ports; id++) vmm.say(id, EVENT.PORT_READY, 1);
    return vmm;
  }

  #kick(index: number): void {
    const { queue } = this.#chains[index] as ChainDriver;
    queue.publish();
    if (queue.needsKick()) this.#rings[index]?.kick.signal();
  }

  /** Sends a control message. */
  say(id: number, event: number, value: number): void {
    this.#chains[CONTROL_TRANSMITQ]?.harvest();
    this.#chains[CONTROL_TRANSMITQ]?.add({ readable: [controlBytes(id, event, value)] });
    this.#kick(CONTROL_TRANSMITQ);
  }

  /** Waits until these control messages have come, in any order. */
  async hears(expected: readonly string[]): Promise<void> {
    const chain = this.#chains[CONTROL_RECEIVEQ] as ChainDriver;
    await eventually(`${expected}`, () => {
      for (const { bytes, written } of chain.harvest()) this.#heard.push(controlText(bytes.subarray(0, written)));
      while (chain.inFlight < CONTROL_BUFFERS) chain.add({ writable: [128] });
      this.#kick(CONTROL_RECEIVEQ);
      return expected.every((message) => this.#heard.includes(message));
    });
    for (const message of expected) this.#heard.splice(this.#heard.indexOf(message), 1);
    assert.ok(this.#heard.every((message) => !message.includes('REMOVE')));
  }

  port(id: number): ConsoleDriver {
    const index = receiveQueueOf(id);
    const [receive, transmit] = this.#chains.slice(index) as [ChainDriver, ChainDriver];
    return new ConsoleDriver(receive, transmit, (queue) =>
      this.#rings[queue === TRANSMITQ ? index + 1 : index]?.kick.signal(),
    );
  }

  [Symbol.dispose](): void {
    this.#front[Symbol.dispose]();
    this.guest[Symbol.dispose]();
  }
}
