// testing: a virtual machine that runs a payload: some memory, and one processor in the payload's mode.
import type { Irqchip } from '../kvm/irqchip.ts';
import type { Kvm } from '../kvm/kvm.ts';
import type { MemorySlot } from '../kvm/memory-slots.ts';
import {
  type GeneralRegisters,
  getSpecialRegisters,
  type Segment,
  setRegisters,
  setSpecialRegisters,
} from '../kvm/registers.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import type { Vm } from '../kvm/vm.ts';
import { closeFd } from '../sys/libc.ts';
import { createMemfd } from '../sys/memfd.ts';
import type { Payload } from './payload.ts';

export interface PayloadGuestOptions {
  readonly irqchip?: boolean;
  readonly memoryBytes?: number;
}

const STACK_TOP = 0x8000;
const PAGE_TABLES = 0x9000;
const PAGE = 0x1000;

const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME_LMA = 0x500n;
const PRESENT_WRITABLE = 3n;
const LARGE_PAGE = 0x80n;

/** A VM with one vCPU and a payload in memory. */
export class PayloadGuest implements Disposable {
  readonly vm: Vm;
  readonly vcpu: Vcpu;
  readonly memory: MemorySlot;
  readonly irqchip: Irqchip | undefined;
  readonly #payload: Payload;
  readonly #memoryFd: number;

  /** Maps memory from 0 on (default: 1 MiB) and copies the payload there. Throws SystemError. */
  constructor(kvm: Kvm, payload: Payload, { irqchip = false, memoryBytes = 1 << 20 }: PayloadGuestOptions = {}) {
    this.#payload = payload;
    this.vm = kvm.createVm();
    this.irqchip = irqchip ? this.vm.createIrqchip() : undefined;
    this.#memoryFd = createMemfd('payload', memoryBytes);
    this.memory = this.vm.memory.add({ guestAddress: 0, sizeBytes: memoryBytes, fd: this.#memoryFd });
    this.memory.bytes.set(payload.bytes, payload.origin);
    this.vcpu = this.vm.createVcpu(0);
    if (payload.mode === 'long') this.#pageTables();
    this.#mode();
  }

  /** Guest memory as 32-bit words. */
  get words(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.memory.bytes.buffer);
  }

  /** Sets the instruction pointer to the payload's first instruction, or to a label. */
  start(registers: Partial<GeneralRegisters> = {}, label?: string): void {
    const rip = BigInt(label === undefined ? this.#payload.origin : this.#payload.addressOf(label));
    setRegisters(this.vcpu.fd, { rip, rsp: BigInt(STACK_TOP), ...registers });
    // A processor that halted would stay halted.
    if (this.irqchip !== undefined) this.vcpu.makeRunnable();
  }

  /** Real mode: sets the handler of an interrupt vector to a label. */
  handle(vector: number, label: string): void {
    new DataView(this.memory.bytes.buffer).setUint32(4 * vector, this.#payload.addressOf(label), true);
  }

  #pageTables(): void {
    const view = new DataView(this.memory.bytes.buffer);
    view.setBigUint64(PAGE_TABLES, BigInt(PAGE_TABLES + PAGE) | PRESENT_WRITABLE, true);
    // The first 2 GiB, in pages of 2 MiB.
    for (let gib = 0; gib < 2; gib++) {
      const directory = PAGE_TABLES + (2 + gib) * PAGE;
      view.setBigUint64(PAGE_TABLES + PAGE + 8 * gib, BigInt(directory) | PRESENT_WRITABLE, true);
      for (let i = 0; i < 512; i++) {
        view.setBigUint64(directory + 8 * i, BigInt((gib * 512 + i) * 0x20_0000) | PRESENT_WRITABLE | LARGE_PAGE, true);
      }
    }
  }

  #mode(): void {
    const registers = getSpecialRegisters(this.vcpu.fd);
    const isLong = this.#payload.mode === 'long';
    const flat: Partial<Segment> = {
      base: 0n,
      selector: isLong ? 16 : 0,
      limit: 0xffff_ffff,
      g: 1,
      db: isLong ? 1 : 0,
    };
    for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const) Object.assign(registers[name], flat, { type: 3 });
    const code: Partial<Segment> = isLong ? { selector: 8, limit: 0xffff_ffff, g: 1, l: 1 } : { selector: 0 };
    Object.assign(registers.cs, { base: 0n, type: 11 }, code);
    if (isLong) {
      registers.cr3 = BigInt(PAGE_TABLES);
      registers.cr4 |= CR4_PAE;
      registers.cr0 |= CR0_PE | CR0_PG;
      registers.efer |= EFER_LME_LMA;
    }
    setSpecialRegisters(this.vcpu.fd, registers);
  }

  [Symbol.dispose](): void {
    this.vcpu[Symbol.dispose]();
    this.vm[Symbol.dispose]();
    closeFd(this.#memoryFd);
  }
}
