// The microVM: what the serial port's line leads to.

export interface Console {
  /** Takes a byte of the guest's. With a promise the guest waits for room. */
  write(byte: number): void | Promise<void>;
  /** Begins to deliver input: `receive` gives how many bytes it took, and `onRoom` is called when it takes more. */
  start(receive: (bytes: Uint8Array) => number): void;
  onRoom(): void;
  /** Nothing comes from the guest any more, and nothing goes to it: the terminal is as it was. */
  stop(): void;
}
