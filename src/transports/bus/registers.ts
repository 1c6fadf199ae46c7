// Ground floor: a device as a bus shows it: a few addresses that answer. A transport has them, a machine puts them on a bus.

/** Offsets count from the beginning of the range; `sizeBytes` is 1, 2 or 4. Both stand for what a hostile driver wrote. */
export interface Registers {
  /** What the driver reads, little-endian. Never throws: what is not there reads as the specification says, or as zeroes. */
  read(offset: number, sizeBytes: number): number;
  /** A promise where the driver has to wait: its processor runs on when that is fulfilled. */
  write(offset: number, sizeBytes: number, value: number): void | Promise<void>;
}
