// bus: the interface of a range of registers on a bus. A transport implements it, a machine maps it.

/**
 * Offsets count from the start of the range; `sizeBytes` is 1, 2 or 4. Offsets and values come from an untrusted
 * driver.
 */
export interface Registers {
  /** Returns the value, little-endian. Never throws: other addresses read as the specification says, or as zeroes. */
  read(offset: number, sizeBytes: number): number;
  /** Returns a promise if the driver has to wait: its vCPU goes on when the promise resolves. */
  write(offset: number, sizeBytes: number, value: number): void | Promise<void>;
}
