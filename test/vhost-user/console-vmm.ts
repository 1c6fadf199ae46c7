// test/vhost-user: a VMM with a console: the front end, and the driver of the guest behind it.
import { RECEIVEQ, TRANSMITQ } from '../../src/devices/console/spec.ts';
import { ChainDriver } from '../../src/testing/chain-driver.ts';
import { type RawFrontEnd, setMemTable, setU64 } from '../../src/testing/raw-front-end.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
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
