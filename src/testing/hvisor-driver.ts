// testing: the driver of a device in a zone of hvisor, on the stand-in: each access is a request on the bridge page.
import { EventLoop } from '../sys/event-loop.ts';
import { rideNodeLoop } from '../sys/node-loop.ts';
import { MmioRegister as Reg } from '../transports/bus/mmio/spec.ts';
import { Bridge } from '../transports/hvisor/bridge.ts';
import { VirtioHvisor } from '../transports/hvisor/virtio-hvisor.ts';
import { mapZoneMemory } from '../transports/hvisor/zone-memory.ts';
import { LocalHost } from '../transports/queue/local-host.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { HvisorStandIn, ZONE0_IPA, type ZoneAccess } from './hvisor-stand-in.ts';
import { eventually } from './patience.ts';
import type { RawGuest } from './raw-guest.ts';
import { RegisterDriver } from './register-driver.ts';

const WINDOW = 0xa00_3c00;
const WINDOW_BYTES = 0x200;
const IRQ = 78;
/** What the upper half of a CPU's register may hold while it writes 32 bits. */
const DIRT = 0xdead_beef_0000_0000n;
/** Turns of the loop in which a synchronous register answers. */
const TURNS_MAX = 64;

export interface HvisorDriverOptions {
  readonly zone?: number;
  readonly cpu?: number;
}

/** Drives a device in a zone of the stand-in, on this thread. */
export class HvisorDriver extends RegisterDriver {
  readonly lines: string[] = [];
  readonly standIn: HvisorStandIn;
  readonly loop = new EventLoop();
  readonly bridge: Bridge;
  readonly transport: VirtioHvisor;
  readonly #zone: number;
  readonly #cpu: number;
  readonly #resources = new DisposableStack();

  constructor(device: VirtioDevice, guest: RawGuest, { zone = 1, cpu = 3 }: HvisorDriverOptions = {}) {
    super();
    [this.#zone, this.#cpu] = [zone, cpu];
    const log = (line: string): void => void this.lines.push(line);
    this.standIn = this.#resources.use(new HvisorStandIn(guest.fd));
    this.standIn.notifyAddresses.add(WINDOW + Reg.QueueNotify);
    this.#resources.use(this.loop);
    this.#resources.use(rideNodeLoop(this.loop));
    const port = this.#resources.use(this.standIn.open());
    this.bridge = this.#resources.use(new Bridge(port, this.loop, log));
    const { guestAddress, sizeBytes, mmapOffset } = guest.region;
    const region = { zone0Ipa: ZONE0_IPA + mmapOffset, zonexIpa: guestAddress, sizeBytes };
    const host = new LocalHost(device, this.loop, { log, guest: mapZoneMemory(port, [region]) });
    const window = { zone, address: WINDOW, sizeBytes: WINDOW_BYTES, irq: IRQ };
    this.transport = new VirtioHvisor(this.bridge, { host, log, ...window });
    this.bridge.start();
  }

  /** An access of this driver's CPU at an offset of the window. */
  accessAt(offset: number, sizeBytes: number, isWrite: boolean, value = 0n): ZoneAccess {
    return { zone: this.#zone, cpu: this.#cpu, address: WINDOW + offset, sizeBytes, isWrite, value };
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
    return Number(this.standIn.answerOf(this.#cpu));
  }

  write(register: number, value: number, sizeBytes = 4): void | Promise<void> {
    const isAnswered = this.#access(this.accessAt(register, sizeBytes, true, DIRT | BigInt(value)));
    if (!isAnswered()) return eventually(`the answer to a write of register 0x${register.toString(16)}`, isAnswered);
  }

  override kick(index: number): void {
    while (!this.standIn.push(this.accessAt(Reg.QueueNotify, 4, true, DIRT | BigInt(index)))) this.loop.turn(0);
  }

  takeLine(): boolean {
    const took = this.standIn.takeInterrupt(this.#zone, IRQ);
    if (took) this.standIn.endOfInterrupt(this.#zone, IRQ);
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    this.#resources.dispose();
  }
}
