// vmm: the vCPU thread's side of an exit: sends it to the main thread and waits. Other exits end the guest.
import { KVM_EXIT_IO, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN } from '../kvm/constants.ts';
import type { Exits } from '../kvm/exits.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import type { VcpuHandler } from '../kvm/vcpu-thread.ts';
import { EventFd } from '../sys/event-fd.ts';
import {
  ADDRESS_HIGH,
  ADDRESS_LOW,
  ANSWERED,
  ASK_STATUS,
  ASKED,
  type ExitProgramData,
  type ExitProgramResult,
  IDLE,
  KIND,
  MEMORY,
  type Shortcuts,
  SIZE_BYTES,
  START_CANCELLED,
  START_HELD,
  STATE,
  VALUE,
  WRITE,
} from './exit-protocol.ts';
import { PostedWrites } from './posted-writes.ts';

/** The program of a vCPU's thread: see `VcpuThread`. */
export function vcpuProgram(vcpu: Vcpu, data: ExitProgramData): VcpuHandler {
  const { exits } = vcpu;
  const { start } = data;
  const requests = new ExitRequests(data, exits);
  let failure: ExitProgramResult;
  Atomics.wait(start, 0, START_HELD);
  if (Atomics.load(start, 0) === START_CANCELLED) throw new Error('the machine was closed before it ran');
  return {
    onExit(reason) {
      if (reason === KVM_EXIT_IO) return requests.ports();
      if (reason === KVM_EXIT_MMIO) return requests.memory();
      failure = reason === KVM_EXIT_SHUTDOWN ? 'the guest failed: triple fault' : exits.describe();
      return false;
    },
    result: () => failure,
  };
}

/** Requests one access of 1, 2 or 4 bytes at a time; larger and repeated ones are split. */
class ExitRequests {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #eventFd: EventFd;
  readonly #posted: PostedWrites;
  readonly #shortcuts: Shortcuts;
  readonly #exits: Exits;
  readonly #operands: DataView<ArrayBuffer>;

  constructor({ words, eventFd, posted, shortcuts }: ExitProgramData, exits: Exits) {
    this.#words = words;
    this.#eventFd = EventFd.borrow(eventFd);
    this.#posted = new PostedWrites(posted);
    this.#shortcuts = shortcuts;
    this.#exits = exits;
    const { buffer, byteOffset, length } = exits.bytes;
    this.#operands = new DataView(buffer, byteOffset, length);
  }

  /** Handles a port access. Returns false if the machine has ended. */
  ports(): boolean {
    const { isOut, port, sizeBytes, count, offset } = this.#exits.io;
    if (sizeBytes === 1 && count === 1 && this.#isShort(isOut, port, offset)) return true;
    for (let i = 0; i < count; i++)
      if (!this.#piece(isOut ? WRITE : 0, port, sizeBytes, offset + i * sizeBytes)) return false;
    return true;
  }

  /** Tries the shortcuts: returns true if a byte was posted or read without a request. */
  #isShort(isOut: boolean, port: number, offset: number): boolean {
    const { start, end, statusPort, status } = this.#shortcuts;
    if (isOut) {
      if (port < start || port >= end) return false;
      if (this.#posted.post(port, 1, this.#operands.getUint8(offset))) this.#eventFd.signal();
      return true;
    }
    const value = port === statusPort ? Atomics.load(status, 0) : ASK_STATUS;
    if (value === ASK_STATUS) return false;
    this.#operands.setUint8(offset, value);
    return true;
  }

  /** As `ports`, for memory. KVM splits accesses at pages, so any length up to 8 is possible. */
  memory(): boolean {
    const { isWrite, address, sizeBytes, offset } = this.#exits.mmio;
    for (let done = 0; done < sizeBytes; ) {
      const left = sizeBytes - done;
      const piece = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      if (!this.#piece(MEMORY | (isWrite ? WRITE : 0), address + done, piece, offset + done)) return false;
      done += piece;
    }
    return true;
  }

  /** Requests one access and waits. `offset` is that of the operand in the run page. */
  #piece(kind: number, address: number, sizeBytes: number, offset: number): boolean {
    const words = this.#words;
    words[KIND] = kind;
    words[SIZE_BYTES] = sizeBytes;
    words[ADDRESS_LOW] = address;
    words[ADDRESS_HIGH] = address / 2 ** 32;
    if ((kind & WRITE) !== 0) words[VALUE] = this.#load(sizeBytes, offset);
    if (Atomics.compareExchange(words, STATE, IDLE, ASKED) !== IDLE) return false;
    this.#eventFd.signal();
    // A wake-up may be the late notify of an earlier answer, which was seen without waiting.
    while (Atomics.load(words, STATE) === ASKED) Atomics.wait(words, STATE, ASKED);
    if (Atomics.compareExchange(words, STATE, ANSWERED, IDLE) !== ANSWERED) return false;
    if ((kind & WRITE) === 0) this.#store(sizeBytes, offset, words[VALUE] as number);
    return true;
  }

  #load(sizeBytes: number, offset: number): number {
    if (sizeBytes === 1) return this.#operands.getUint8(offset);
    return sizeBytes === 2 ? this.#operands.getUint16(offset, true) : this.#operands.getUint32(offset, true);
  }

  #store(sizeBytes: number, offset: number, value: number): void {
    if (sizeBytes === 1) this.#operands.setUint8(offset, value);
    else if (sizeBytes === 2) this.#operands.setUint16(offset, value, true);
    else this.#operands.setUint32(offset, value, true);
  }
}
