// vmm: the protocol of exits between vCPU threads and the main thread: shared words for each vCPU, and one
// eventfd.
import type { PostedWords } from './posted-writes.ts';

/** Indices of one vCPU's words. STATE says which side owns the others. */
export const STATE = 0;
export const KIND = 1;
export const SIZE_BYTES = 2;
export const ADDRESS_LOW = 3;
export const ADDRESS_HIGH = 4;
export const VALUE = 5;
export const WORDS_PER_VCPU = 8;

/** STATE: the vCPU thread sets ASKED from IDLE and waits; the main thread sets ANSWERED, or CLOSED at the end. */
export const IDLE = 0;
export const ASKED = 1;
export const ANSWERED = 2;
export const CLOSED = 3;

/** KIND: two bits. */
export const WRITE = 1;
export const MEMORY = 2;

/** The start word: threads wait while it is START_HELD. */
export const START_HELD = 0;
export const START_RELEASED = 1;
export const START_CANCELLED = 2;

/** The data of a vCPU's program. */
export interface ExitProgramData {
  /** This vCPU's words. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Signalled when STATE becomes ASKED, and for posted writes. */
  readonly eventFd: number;
  /** START_HELD until the kernel is loaded and the guest may run. */
  readonly start: Int32Array<SharedArrayBuffer>;
  /** This vCPU's ring of posted writes. */
  readonly posted: PostedWords;
  readonly shortcuts: Shortcuts;
}

/**
 * Accesses that need no round trip to the main thread, which would cost two thread switches for each byte of the
 * console. Writes of one byte to [start, end) are posted, in order; a byte read from `statusPort` returns `status`,
 * unless that is ASK_STATUS.
 */
export interface Shortcuts {
  readonly start: number;
  readonly end: number;
  readonly statusPort: number;
  readonly status: Int32Array<SharedArrayBuffer>;
}

export const ASK_STATUS = -1;

/** Why a thread ended by itself, as a line for the log; undefined if it was told to stop. */
export type ExitProgramResult = string | undefined;
