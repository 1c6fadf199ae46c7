// testing: an assembler for guests of a few instructions, in real mode or in long mode, for tests and benchmarks.

const REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;
export type Register = (typeof REGISTERS)[number];
/** Size of an operand; 8 in long mode only. */
export type OperandBytes = 1 | 2 | 4 | 8;
export type PayloadMode = 'real' | 'long';

const number = (register: Register): number => REGISTERS.indexOf(register);
const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/**
 * Instructions one after the other from `origin` on. Addresses are absolute and flat in both modes: in long mode below
 * 2 GiB. Jumps are short. vmcall and vmmcall are left out: on some KVMs KVM_RUN never returns from them.
 */
export class Payload {
  readonly mode: PayloadMode;
  readonly origin: number;
  readonly #bytes: number[] = [];
  readonly #labels = new Map<string, number>();
  readonly #jumps: { readonly at: number; readonly label: string }[] = [];

  constructor(mode: PayloadMode = 'real', origin = 0x1000) {
    this.mode = mode;
    this.origin = origin;
  }

  /** The machine code. Throws RangeError for a jump that is too long or has no such label. */
  get bytes(): Uint8Array {
    for (const { at, label } of this.#jumps) {
      const distance = this.addressOf(label) - this.origin - (at + 1);
      if (distance < -128 || distance > 127)
        throw new RangeError(`the jump to ${label} is too long: ${distance} bytes`);
      this.#bytes[at] = distance & 0xff;
    }
    return Uint8Array.from(this.#bytes);
  }

  /** The guest address of a label. */
  addressOf(label: string): number {
    const at = this.#labels.get(label);
    if (at === undefined) throw new RangeError(`there is no label ${label}`);
    return this.origin + at;
  }

  label(name: string): this {
    this.#labels.set(name, this.#bytes.length);
    return this;
  }

  raw(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  // Operands have 32 bits by default; in real mode that takes a prefix, and so does a 32-bit address.
  #operation(sizeBytes: OperandBytes, byteOpcode: number, ...rest: number[]): this {
    if (sizeBytes === 8 && this.mode === 'real') throw new RangeError('real mode has no operands of 8 bytes');
    if (sizeBytes === 2 ? this.mode === 'long' : sizeBytes === 4 && this.mode === 'real') this.raw(0x66);
    if (sizeBytes === 8) this.raw(0x48);
    return this.raw(byteOpcode | (sizeBytes === 1 ? 0 : 1), ...rest);
  }

  #withMemory(sizeBytes: OperandBytes, byteOpcode: number, field: number, address: number): this {
    if (this.mode === 'real')
      return this.raw(0x67).#operation(sizeBytes, byteOpcode, (field << 3) | 5, ...word(address));
    return this.#operation(sizeBytes, byteOpcode, (field << 3) | 4, 0x25, ...word(address));
  }

  #jump(opcode: number, label: string): this {
    this.raw(opcode);
    this.#jumps.push({ at: this.#bytes.length, label });
    return this.raw(0);
  }

  /** register = value */
  set(register: Register, value: number): this {
    if (this.mode === 'real') this.raw(0x66);
    return this.raw(0xb8 + number(register), ...word(value));
  }

  /** [address] = the low bytes of the register */
  store(address: number, register: Register, sizeBytes: OperandBytes = 4): this {
    return this.#withMemory(sizeBytes, 0x88, number(register), address);
  }

  /** the low bytes of the register = [address] */
  load(register: Register, address: number, sizeBytes: OperandBytes = 4): this {
    return this.#withMemory(sizeBytes, 0x8a, number(register), address);
  }

  /** [address]++, 32 bits */
  incrementMemory(address: number): this {
    return this.#withMemory(4, 0xfe, 0, address);
  }

  /** Compares [address] with a register, for `jumpIfEqual`. */
  compare(address: number, register: Register): this {
    return this.#withMemory(4, 0x38, number(register), address);
  }

  /** register--; for `jumpIfNotZero` */
  decrement(register: Register): this {
    return this.#operation(4, 0xfe, 0xc8 | number(register));
  }

  /** Writes eax to the port in edx. */
  out(sizeBytes: 1 | 2 | 4): this {
    return this.#operation(sizeBytes, 0xee);
  }

  /** Reads eax from the port in edx. */
  in(sizeBytes: 1 | 2 | 4): this {
    return this.#operation(sizeBytes, 0xec);
  }

  /** Writes a byte to a port below 256; al is lost. */
  outByte(port: number, value: number): this {
    return this.raw(0xb0, value, 0xe6, port);
  }

  /** Writes ecx bytes from [esi] on to the port in edx. */
  outString(): this {
    return this.raw(...(this.mode === 'real' ? [0x67] : []), 0xf3, 0x6e);
  }

  jump(label: string): this {
    return this.#jump(0xeb, label);
  }

  jumpIfNotZero(label: string): this {
    return this.#jump(0x75, label);
  }

  jumpIfEqual(label: string): this {
    return this.#jump(0x74, label);
  }

  nop(): this {
    return this.raw(0x90);
  }

  /** Enables interrupts. */
  sti(): this {
    return this.raw(0xfb);
  }

  cli(): this {
    return this.raw(0xfa);
  }

  /** Without an irqchip this exits to user space; with one the processor sleeps until an interrupt. */
  hlt(): this {
    return this.raw(0xf4);
  }

  /** Ends an interrupt handler. Real mode only: long mode would need an interrupt descriptor table. */
  iret(): this {
    return this.raw(0xcf);
  }

  /** An instruction that does not exist. */
  undefinedInstruction(): this {
    return this.raw(0x0f, 0x0b);
  }

  /**
   * Sets both 8259s up: interrupts 0..15 get the vectors from `vector` on, edge-triggered; all but the bits of `open`
   * are masked.
   */
  programPics(vector: number, open: number): this {
    const mask = ~open;
    this.outByte(0x20, 0x11)
      .outByte(0x21, vector)
      .outByte(0x21, 4)
      .outByte(0x21, 1)
      .outByte(0x21, mask & 0xff);
    this.outByte(0xa0, 0x11)
      .outByte(0xa1, vector + 8)
      .outByte(0xa1, 2)
      .outByte(0xa1, 1);
    return this.outByte(0xa1, (mask >> 8) & 0xff);
  }
}
