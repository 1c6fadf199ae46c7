// kvm: decodes an exit from a vCPU's run page (struct kvm_run), without copies and allocations.
import {
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_HLT,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_IO_OUT,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
  KVM_INTERNAL_ERROR_EMULATION,
  KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
  KVM_RUN,
} from './constants.ts';

/** An access of the guest's. Its operands are in the run page, where the result of a read is written too. */
abstract class Access {
  protected readonly view: DataView<ArrayBuffer>;

  constructor(view: DataView<ArrayBuffer>) {
    this.view = view;
  }

  /** Size of one operand: 1, 2, 4 or (MMIO only) 8. */
  abstract readonly sizeBytes: number;
  /** Offset of the operand in the run page. */
  abstract readonly offset: number;

  /** The operand, if it has up to 4 bytes; the low half of 8 bytes. */
  get value(): number {
    const { view, offset, sizeBytes } = this;
    if (sizeBytes === 1) return view.getUint8(offset);
    return sizeBytes === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
  }

  /** Sets the result of a read. The high half of 8 bytes becomes zero. */
  set value(value: number) {
    const { view, offset, sizeBytes } = this;
    if (sizeBytes === 1) view.setUint8(offset, value);
    else if (sizeBytes === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
    if (sizeBytes === 8) view.setUint32(offset + 4, 0, true);
  }
}

/** KVM_EXIT_IO: `in` or `out`. */
export class PortAccess extends Access {
  /** `out`: the operand is in `value`. Otherwise `in`: set `value`. */
  get isOut(): boolean {
    return this.view.getUint8(KVM_RUN.ioDirection) === KVM_EXIT_IO_OUT;
  }

  /** The port number. */
  get port(): number {
    return this.view.getUint16(KVM_RUN.ioPort, true);
  }

  get sizeBytes(): number {
    return this.view.getUint8(KVM_RUN.ioSize);
  }

  /** How many operands: more than one for `rep outs` and `rep ins`, one after the other from `offset` on. */
  get count(): number {
    return this.view.getUint32(KVM_RUN.ioCount, true);
  }

  get offset(): number {
    return this.view.getUint32(KVM_RUN.ioDataOffset, true);
  }
}

/** KVM_EXIT_MMIO: an access to an address without memory. */
export class MemoryAccess extends Access {
  readonly offset = KVM_RUN.mmioData;

  /** A write: the operand is in `value`. Otherwise set `value`. */
  get isWrite(): boolean {
    return this.view.getUint8(KVM_RUN.mmioIsWrite) !== 0;
  }

  /** The guest address. Exact: x86-64 has at most 52 bits of it. */
  get address(): number {
    return (
      this.view.getUint32(KVM_RUN.mmioAddress, true) + this.view.getUint32(KVM_RUN.mmioAddress + 4, true) * 2 ** 32
    );
  }

  get sizeBytes(): number {
    return this.view.getUint32(KVM_RUN.mmioLength, true);
  }

  /** The operand of 8 bytes. */
  get wideValue(): bigint {
    return this.view.getBigUint64(this.offset, true);
  }

  set wideValue(value: bigint) {
    this.view.setBigUint64(this.offset, value, true);
  }
}

/** The exit of one vCPU, decoded from its run page. Valid until the next KVM_RUN. */
export class Exits {
  /** For KVM_EXIT_IO. */
  readonly io: PortAccess;
  /** For KVM_EXIT_MMIO. */
  readonly mmio: MemoryAccess;
  /** The whole page: the operands of string instructions begin at `io.offset`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;

  constructor(runPage: Uint8Array<ArrayBuffer>) {
    this.bytes = runPage;
    this.#view = new DataView(runPage.buffer, runPage.byteOffset, runPage.byteLength);
    this.io = new PortAccess(this.#view);
    this.mmio = new MemoryAccess(this.#view);
  }

  /** KVM_EXIT_… */
  get reason(): number {
    return this.#view.getUint32(KVM_RUN.exitReason, true);
  }

  /** KVM_SYSTEM_EVENT_…, for KVM_EXIT_SYSTEM_EVENT. */
  get systemEvent(): number {
    return this.#view.getUint32(KVM_RUN.systemEventType, true);
  }

  /** Describes the exit in one line, for an error or a log. */
  describe(): string {
    return (DESCRIPTIONS[this.reason] ?? describeUnknown)(this, this.#view);
  }
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const plural = (bytes: number): string => `${bytes} byte${bytes === 1 ? '' : 's'}`;

type Describe = (exits: Exits, view: DataView<ArrayBuffer>) => string;

const DESCRIPTIONS: { readonly [reason: number]: Describe } = {
  [KVM_EXIT_IO]: ({ io }) => `${io.isOut ? 'out to' : 'in from'} port ${hex(io.port)}, ${plural(io.sizeBytes)}`,
  [KVM_EXIT_MMIO]: ({ mmio }) =>
    `${mmio.isWrite ? 'write to' : 'read from'} address ${hex(mmio.address)}, ${plural(mmio.sizeBytes)}`,
  [KVM_EXIT_HLT]: () => 'the guest halted',
  [KVM_EXIT_SHUTDOWN]: () => 'the guest shut down: a triple fault, unless it meant to',
  [KVM_EXIT_INTR]: () => 'interrupted from outside',
  [KVM_EXIT_FAIL_ENTRY]: (_, view) =>
    `the processor refused to enter the guest: reason ${hex(view.getBigUint64(KVM_RUN.failEntryReason, true))}` +
    ` on processor ${view.getUint32(KVM_RUN.failEntryCpu, true)}`,
  [KVM_EXIT_SYSTEM_EVENT]: ({ systemEvent }) => `system event ${systemEvent}`,
  [KVM_EXIT_INTERNAL_ERROR]: (_, view) => describeInternalError(view),
};

function describeUnknown({ reason }: Exits, view: DataView<ArrayBuffer>): string {
  return `exit reason ${reason}, hardware reason ${hex(view.getBigUint64(KVM_RUN.hardwareExitReason, true))}`;
}

function describeInternalError(view: DataView<ArrayBuffer>): string {
  const suberror = view.getUint32(KVM_RUN.internalSuberror, true);
  if (suberror !== KVM_INTERNAL_ERROR_EMULATION) return `KVM internal error ${suberror}`;
  // The bytes are there only if three words of data are, and the flag says so.
  const known =
    view.getUint32(KVM_RUN.internalDataCount, true) >= 3 &&
    (view.getBigUint64(KVM_RUN.emulationFlags, true) & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) !== 0n;
  if (!known) return 'KVM could not emulate an instruction';
  const size = Math.min(15, view.getUint8(KVM_RUN.emulationInstructionSize));
  const bytes = Array.from({ length: size }, (_, i) => view.getUint8(KVM_RUN.emulationInstruction + i));
  return `KVM could not emulate ${bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}`;
}
