// test/kvm: a guest of a few instructions that drives a real transport: it repeats the accesses recorded of a test driver.
import type { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../src/kvm/constants.ts';
import type { Kvm } from '../../src/kvm/kvm.ts';
import type { Vm } from '../../src/kvm/vm.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { rideNodeLoop } from '../../src/sys/node-loop.ts';
import { COUNTS, installHandlers, setUpInterrupts } from '../../src/testing/interrupt-payload.ts';
import { eventually } from '../../src/testing/patience.ts';
import { type OperandBytes, Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import type { RawGuest } from '../../src/testing/raw-guest.ts';
import type { Transport, TransportOptions } from '../../src/transports/bus/transport.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { Bus } from '../../src/vmm/bus.ts';
import { doorbellsOf } from '../../src/vmm/virtio-lines.ts';
import { kernelTurn } from './kernel-turn.ts';
import { DONE_PORT } from './run-guest.ts';

/** A write that a driver made. */
export interface Write {
  readonly bus: 'mmio' | 'pio';
  readonly address: number;
  readonly sizeBytes: number;
  readonly value: number;
}

export interface VirtioGuestOptions {
  readonly kvm: Kvm;
  /** Memory that the guest has besides its own. */
  readonly memory: RawGuest;
  readonly device: BlockDevice;
  /** What it does to set the device up, and to ring. */
  readonly setUp: readonly Write[];
  readonly ring: readonly Write[];
  /** Instructions its handler of the line begins with. */
  readonly onLine?: (payload: Payload) => void;
  /** Before the transport is made. */
  readonly prepare?: (vm: Vm) => void;
}

const APIC_EOI = 0xfee0_00b0;

export class VirtioGuest implements AsyncDisposable {
  readonly memory = new Bus();
  readonly ports = new Bus();
  readonly vm: Vm;
  readonly options: TransportOptions;
  readonly lines: string[] = [];
  /** Writes to memory that left the guest. */
  readonly trapped: { readonly address: number; readonly value: number }[] = [];
  transport: Transport | undefined;
  readonly #guest: PayloadGuest;
  readonly #loop = new EventLoop();
  readonly #ride = rideNodeLoop(this.#loop);

  constructor({ kvm, memory, device, setUp, ring, onLine, prepare }: VirtioGuestOptions) {
    this.#guest = new PayloadGuest(kvm, payloadOf(setUp, ring, onLine), { irqchip: true });
    this.vm = this.#guest.vm;
    const { guestAddress, sizeBytes, fd } = memory.region;
    this.vm.memory.add({ guestAddress, sizeBytes, fd });
    prepare?.(this.vm);
    installHandlers(this.#guest);
    const log = (line: string): void => {
      this.lines.push(line);
    };
    const host = new LocalHost(device, this.#loop, { log, guest: new GuestMemory([memory.memory]) });
    this.options = { host, loop: this.#loop, log, doorbells: doorbellsOf(this.vm) };
  }

  /** Runs one piece of the guest to its end; every exit on the way goes to a bus. */
  async run(label: 'set-up' | 'ring' | 'window'): Promise<void> {
    this.#guest.start({ rdx: BigInt(DONE_PORT) }, label);
    const { vcpu } = this.#guest;
    const { io, mmio } = vcpu.exits;
    for (;;) {
      const reason = vcpu.run();
      if (reason === KVM_EXIT_IO && io.port === DONE_PORT) {
        if (io.sizeBytes === 1) return;
      } else if (reason === KVM_EXIT_IO) {
        if (io.isOut) await this.ports.write(io.port, io.sizeBytes, io.value);
        else io.value = this.ports.read(io.port, io.sizeBytes);
      } else if (reason === KVM_EXIT_MMIO) {
        const { address, sizeBytes, value } = mmio;
        if (mmio.isWrite) {
          this.trapped.push({ address, value });
          await this.memory.write(address, sizeBytes, value);
        } else mmio.value = this.memory.read(address, sizeBytes);
      } else throw new Error(`the payload stopped: ${vcpu.exits.describe()}`);
    }
  }

  /** How often each handler has run: of the line, of MESSAGE, of OTHER_MESSAGE. */
  get handled(): readonly number[] {
    return [...this.#guest.words.subarray(COUNTS.line / 4, COUNTS.line / 4 + 3)];
  }

  /** A word of the guest's own memory. */
  word(address: number): number {
    return this.#guest.words[address / 4] as number;
  }

  /** Lets interrupts in until a handler has run once more than `before` said. */
  async interrupted(which: 0 | 1 | 2, before: readonly number[]): Promise<void> {
    await eventually('an interrupt', async () => {
      await this.run('window');
      return (this.handled[which] as number) > (before[which] as number);
    });
  }

  /** Enables interrupts for a moment. Returns how often each handler has run after that. */
  async quiet(): Promise<readonly number[]> {
    for (let i = 0; i < 5; i++) {
      // The loop of the device takes its turn in this one.
      await new Promise((resolve) => setImmediate(resolve));
      kernelTurn(this.vm);
      await this.run('window');
    }
    return this.handled;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport?.close();
    this.#ride[Symbol.dispose]();
    this.#loop[Symbol.dispose]();
    this.#guest[Symbol.dispose]();
  }
}

function payloadOf(setUp: readonly Write[], ring: readonly Write[], onLine?: (payload: Payload) => void): Payload {
  const payload = new Payload().label('set-up');
  setUpInterrupts(payload);
  addWrites(payload, setUp);
  payload.set('edx', DONE_PORT).out(1);
  // Interrupts are let in across an exit: a KVM that emulates looks for them when it enters the guest, not after each instruction.
  payload.label('window').sti().out(2).nop().cli().out(1);
  payload.label('ring');
  addWrites(payload, ring);
  payload.set('edx', DONE_PORT).out(1);
  payload.label('on-line').incrementMemory(COUNTS.line);
  onLine?.(payload);
  payload.outByte(0x20, 0x20).iret();
  payload.label('on-message').incrementMemory(COUNTS.message).store(APIC_EOI, 'eax').iret();
  payload.label('on-other-message').incrementMemory(COUNTS.otherMessage).store(APIC_EOI, 'eax').iret();
  if (payload.origin + payload.bytes.length > COUNTS.line) throw new RangeError('the payload runs into what it counts');
  return payload;
}

function addWrites(payload: Payload, writes: readonly Write[]): void {
  for (const { bus, address, sizeBytes, value } of writes) {
    if (bus === 'mmio') payload.set('eax', value).store(address, 'eax', sizeBytes as OperandBytes);
    else
      payload
        .set('edx', address)
        .set('eax', value)
        .out(sizeBytes as 1 | 2 | 4);
  }
}
