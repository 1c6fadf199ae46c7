// testing: the driver of a device in a zone of hvisor: each access is a request on the stand-in's bridge page.
import type { EventLoop } from '../sys/event-loop.ts';
import { MmioRegister as Reg } from '../transports/bus/mmio/spec.ts';
import type { HvisorStandIn, ZoneAccess } from './hvisor-stand-in.ts';
import { eventually } from './patience.ts';
import { RegisterDriver } from './register-driver.ts';

/** What the upper half of a CPU's register may hold while it writes 32 bits. */
const DIRT = 0xdead_beef_0000_0000n;
/** Turns of the loop in which a synchronous register answers. */
const TURNS_MAX = 64;

export interface ZoneDriverOptions {
  readonly standIn: HvisorStandIn;
  /** The loop that the bridge runs on: this thread's. */
  readonly loop: EventLoop;
  /** Where the device side logs. */
  readonly lines: string[];
  readonly zone: number;
  /** The physical CPU that the zone runs on. */
  readonly cpu: number;
  readonly address: number;
  readonly irq: number;
}

/** Drives a device of a zone from the thread that serves it. */
export class ZoneDriver extends RegisterDriver {
  readonly lines: string[];
  readonly standIn: HvisorStandIn;
  readonly loop: EventLoop;
  readonly #place: Pick<ZoneDriverOptions, 'zone' | 'cpu' | 'address' | 'irq'>;

  constructor({ standIn, loop, lines, ...place }: ZoneDriverOptions) {
    super();
    this.standIn = standIn;
    this.loop = loop;
    this.lines = lines;
    this.#place = place;
    standIn.notifyAddresses.add(place.address + Reg.QueueNotify);
  }

  /** An access of this driver's CPU at an offset of the window. */
  accessAt(offset: number, sizeBytes: number, isWrite: boolean, value = 0n): ZoneAccess {
    const { zone, cpu, address } = this.#place;
    return { zone, cpu, address: address + offset, sizeBytes, isWrite, value };
  }

  /** Makes an access; the bridge runs meanwhile, as long as its registers answer at once. Returns whether it did. */
  #access(access: ZoneAccess): () => boolean {
    let isAnswered = this.standIn.access(access);
    for (let turns = 0; turns < TURNS_MAX && isAnswered?.() !== true; turns++) {
      this.loop.turn(0);
      isAnswered ??= this.standIn.access(access);
    }
    if (isAnswered === undefined) throw new Error('the ring stays full: nobody takes requests');
    return isAnswered;
  }

  read(register: number, sizeBytes = 4): number {
    const isAnswered = this.#access(this.accessAt(register, sizeBytes, false));
    if (!isAnswered()) throw new Error(`a read of register 0x${register.toString(16)} is not answered`);
    return Number(this.standIn.answerOf(this.#place.cpu));
  }

  write(register: number, value: number, sizeBytes = 4): void | Promise<void> {
    const isAnswered = this.#access(this.accessAt(register, sizeBytes, true, DIRT | BigInt(value)));
    if (!isAnswered()) return eventually(`the answer to a write of register 0x${register.toString(16)}`, isAnswered);
  }

  override kick(index: number): void {
    while (!this.standIn.push(this.accessAt(Reg.QueueNotify, 4, true, DIRT | BigInt(index)))) this.loop.turn(0);
  }

  takeLine(): boolean {
    const took = this.standIn.takeInterrupt(this.#place.zone, this.#place.irq);
    if (took) this.standIn.endOfInterrupt(this.#place.zone, this.#place.irq);
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reset();
  }
}
