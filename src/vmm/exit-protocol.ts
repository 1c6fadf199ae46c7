// The microVM: how a vCPU's thread asks the main thread what a device answers: a few shared words for each vCPU, and one eventfd.
import type { PostedWords } from './posted-writes.ts';

/** Words of one vCPU. Those behind STATE belong to the side whose turn it is. */
export const STATE = 0;
export const KIND = 1;
export const SIZE_BYTES = 2;
export const ADDRESS_LOW = 3;
export const ADDRESS_HIGH = 4;
export const VALUE = 5;
export const WORDS_PER_VCPU = 8;

/** STATE: the thread turns IDLE to ASKED and waits; the main thread turns that to ANSWERED, or to CLOSED for good. */
export const IDLE = 0;
export const ASKED = 1;
export const ANSWERED = 2;
export const CLOSED = 3;

/** KIND: two bits. */
export const WRITE = 1;
export const MEMORY = 2;

/** The start: a thread is held until the guest may run, or never will. */
export const START_HELD = 0;
export const START_RELEASED = 1;
export const START_CANCELLED = 2;

/** What the vCPU's program is given. */
export interface ExitProgramData {
  /** This vCPU's words. */
  readonly words: Int32Array<SharedArrayBuffer>;
  /** Rung when they ask for something. */
  readonly eventFd: number;
  /** START_HELD until the kernel is in memory and the guest may run. */
  readonly start: Int32Array<SharedArrayBuffer>;
  /** This vCPU's ring of writes that it does not wait for. */
  readonly posted: PostedWords;
  readonly shortcuts: Shortcuts;
}

/**
 * What a vCPU's thread need not ask: a console's worth of letters would be two changes of thread each. Writes of one byte to
 * [start, end) are posted, in order; a byte read from `statusPort` is what `status` holds, unless that is ASK_STATUS.
 */
export interface Shortcuts {
  readonly start: number;
  readonly end: number;
  readonly statusPort: number;
  readonly status: Int32Array<SharedArrayBuffer>;
}

export const ASK_STATUS = -1;

/** Why a thread ended by itself, in words for a person; `undefined` where it was told to. */
export type ExitProgramResult = string | undefined;
