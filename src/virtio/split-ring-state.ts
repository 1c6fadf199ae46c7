// Cellar: what either side of a split virtqueue says to the other, at one moment: for reports about a queue that stands still.
import type { SplitLayout } from './split-ring.ts';

/** The words of both rings but for their elements, §2.7.6 and §2.7.8. The events mean nothing without EVENT_IDX. */
export interface SplitRingState {
  readonly availFlags: number;
  readonly availIndex: number;
  readonly usedEvent: number;
  readonly usedFlags: number;
  readonly usedIndex: number;
  readonly availEvent: number;
}

/** Reads a ring that others are using. */
export function readSplitRing({ size, availableRing, usedRing }: SplitLayout): SplitRingState {
  const avail = new Uint16Array(availableRing.buffer, availableRing.byteOffset, 2 + size + 1);
  const used = new Uint16Array(usedRing.buffer, usedRing.byteOffset, 2 + 4 * size + 1);
  return {
    availFlags: Atomics.load(avail, 0),
    availIndex: Atomics.load(avail, 1),
    usedEvent: Atomics.load(avail, 2 + size),
    usedFlags: Atomics.load(used, 0),
    usedIndex: Atomics.load(used, 1),
    availEvent: Atomics.load(used, 2 + 4 * size),
  };
}

/** On one line: what the driver wrote, then what the device wrote. */
export function describeSplitRing(state: SplitRingState): string {
  const driver = `avail.idx ${state.availIndex}, avail.flags ${state.availFlags}, used_event ${state.usedEvent}`;
  const device = `used.idx ${state.usedIndex}, used.flags ${state.usedFlags}, avail_event ${state.availEvent}`;
  return `${driver}; ${device}`;
}
