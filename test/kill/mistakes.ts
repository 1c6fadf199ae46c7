// test/kill: mistakes in the record of requests in flight, to show that kills catch them.

/** Replacements in the text of src/virtio/split/split-in-flight.ts. */
export const MISTAKES = {
  /** The back end does not look at what the one before left in flight. */
  'ignores-the-record': { from: 'return { heads };', to: 'return { heads: [] };' },
  /** A request is no longer in flight as soon as it was popped. */
  'clears-too-early': { from: 'this.#setInFlight(head, 1);', to: 'this.#setInFlight(head, 0);' },
  /** A request stays in flight after the driver has seen it completed. */
  'clears-too-late': {
    from: 'for (let i = 0; i < this.#batched; i++)',
    to: 'for (let i = 0; i < this.#batched - 1; i++)',
  },
} as const;

export type Mistake = keyof typeof MISTAKES;
