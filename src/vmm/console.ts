// vmm: the interface of what the serial port is connected to.

/** The other end of the serial line. */
export interface Console {
  /** Takes a byte from the guest. If it returns a promise, the guest waits. */
  write(byte: number): void | Promise<void>;
  /** Starts to deliver input: `receive` returns how many bytes it took, and `onRoom` is called when it takes more. */
  start(receive: (bytes: Uint8Array) => number): void;
  onRoom(): void;
  /** Flushes output, stops input, and restores the terminal. */
  stop(): void;
}
