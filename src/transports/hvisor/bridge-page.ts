// hvisor: the daemon's side of the bridge page: takes requests, answers them, passes interrupts to inject.
//
// Atomics.store followed by Atomics.load is a full barrier, also on memory that is no SharedArrayBuffer. Plain accesses
// to a slot stand between the atomic accesses to the indices that say whose the slot is.
import {
  BRIDGE_CPUS,
  BRIDGE_SLOTS,
  BridgeOffset,
  REQUEST_BYTES,
  RESULT_BYTES,
  RequestOffset,
} from './bridge-layout.ts';

const REQUEST_FRONT = BridgeOffset.requestFront / 4;
const REQUEST_REAR = BridgeOffset.requestRear / 4;
const RESULT_FRONT = BridgeOffset.resultFront / 4;
const RESULT_REAR = BridgeOffset.resultRear / 4;
const SLOT_MASK = BRIDGE_SLOTS - 1;
const WORD = 2 ** 32;

/** One access of a zone. The page reuses the object: it is valid until the next `take`. */
export interface BridgeRequest {
  /** The physical CPU that waits for the answer; may be out of range. */
  readonly cpu: number;
  readonly zone: number;
  /** Guest physical; Infinity for one beyond 2^53, where no device is. */
  readonly address: number;
  /** 1, 2, 4 or 8, if hvisor keeps its own rules. */
  readonly sizeBytes: number;
  /** The low 32 bits of the register: its upper bits may hold anything, so this is not cut to `sizeBytes` yet. */
  readonly value: number;
  readonly isWrite: boolean;
  /** Nobody waits for an answer: an access, also a read, at the offset of QueueNotify. */
  readonly isAsynchronous: boolean;
}

/** The daemon's side of one bridge page. */
export class BridgePage {
  /** The request of the last `take`. */
  readonly request: BridgeRequest;
  readonly #request = { cpu: 0, zone: 0, address: 0, sizeBytes: 0, value: 0, isWrite: false, isAsynchronous: false };
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** The daemon alone moves these two, so they are kept here and only written there. */
  #requestFront: number;
  #resultRear: number;

  /** @param bytes the mapped page; it begins at a multiple of 8. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.request = this.#request;
    this.#bytes = bytes;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    this.#requestFront = (this.#words[REQUEST_FRONT] as number) & SLOT_MASK;
    this.#resultRear = (this.#words[RESULT_REAR] as number) & SLOT_MASK;
  }

  /** Whether a request waits. */
  get hasRequest(): boolean {
    return (Atomics.load(this.#words, REQUEST_REAR) & SLOT_MASK) !== this.#requestFront;
  }

  /** Copies the next request into `request` and gives its slot back. Returns false when there is none. */
  take(): boolean {
    if (!this.hasRequest) return false;
    const at = BridgeOffset.requests + this.#requestFront * REQUEST_BYTES;
    const request = this.#request;
    request.cpu = this.#number(at + RequestOffset.cpu);
    request.address = this.#number(at + RequestOffset.address);
    request.sizeBytes = this.#number(at + RequestOffset.size);
    request.value = this.#word(at + RequestOffset.value);
    request.zone = this.#word(at + RequestOffset.zone);
    request.isWrite = this.#bytes[at + RequestOffset.isWrite] !== 0;
    request.isAsynchronous = this.#bytes[at + RequestOffset.isAsynchronous] !== 0;
    this.#requestFront = (this.#requestFront + 1) & SLOT_MASK;
    Atomics.store(this.#words, REQUEST_FRONT, this.#requestFront);
    return true;
  }

  #word(offset: number): number {
    return this.#words[offset / 4] as number;
  }

  #number(offset: number): number {
    const value = this.#word(offset + 4) * WORD + this.#word(offset);
    return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
  }

  /**
   * Lets a CPU go on with `value`, of up to 32 bits: the register gets all 64 bits, so the upper ones are zero. Returns
   * false for a CPU that does not exist.
   */
  answer(cpu: number, value: number): boolean {
    if (cpu >= BRIDGE_CPUS) return false;
    const at = BridgeOffset.answerValues / 4 + 2 * cpu;
    this.#words[at] = value;
    this.#words[at + 1] = 0;
    // The CPU waits for any change of the 64-bit count: the low half changes every time.
    Atomics.add(this.#words, BridgeOffset.answerFlags / 4 + 2 * cpu, 1);
    return true;
  }

  /** Asks to be woken for the next request, or not to be. `hasRequest` after it sees every request not woken for. */
  askForWakeup(isWanted: boolean): void {
    Atomics.store(this.#bytes, BridgeOffset.needWakeup, isWanted ? 1 : 0);
  }

  /** Adds an interrupt to inject, which FINISH_REQ passes on. Returns false when the ring is full. */
  pushResult(zone: number, irq: number): boolean {
    const rear = this.#resultRear;
    const next = (rear + 1) & SLOT_MASK;
    if (next === (Atomics.load(this.#words, RESULT_FRONT) & SLOT_MASK)) return false;
    const at = (BridgeOffset.results + rear * RESULT_BYTES) / 4;
    this.#words[at] = zone;
    this.#words[at + 1] = irq;
    this.#resultRear = next;
    Atomics.store(this.#words, RESULT_REAR, next);
    return true;
  }
}
