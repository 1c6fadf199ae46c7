// Ground floor: who runs a device's queues. The session tells it what the front end wants and waits for `done` each time.

/** A piece of guest memory behind a descriptor that stays the session's. */
export interface SharedRegion {
  readonly fd: number;
  /** Bytes of the file to map, from its beginning. */
  readonly mapBytes: number;
  /** Where the region begins in the file. */
  readonly mmapOffset: number;
  readonly guestAddress: number;
  readonly sizeBytes: number;
}

/** A ring ready to run. Ring addresses are guest addresses; descriptors stay the session's. */
export interface QueueSetup {
  readonly size: number;
  readonly base: number;
  readonly features: bigint;
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
  /** Absent: no kicks will come, the ring has to be looked at. */
  readonly kickFd: number | undefined;
  readonly callFd: number | undefined;
  readonly errFd: number | undefined;
}

/** Every method but `resized` is called for one session at a time. `done` gets an error where the front end asked for the impossible. */
export interface QueueHost {
  /** Maps these regions instead of the ones before. No queue runs. */
  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void;
  /** Starts a queue, and looks at its ring at once: a kick may have come before. */
  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void;
  /**
   * Stops a queue that was started; when `done` is told the next available index, nothing in flight touches guest memory.
   * `broken`: it had stopped by itself, over a mistake of the driver.
   */
  stop(index: number, done: (base: number, broken: boolean) => void): void;
  /** Changes where a running queue calls, and calls there once: a call may have been missed meanwhile. */
  setCall(index: number, callFd: number | undefined, done: () => void): void;
  /** The driver accepted these features. */
  activate(features: bigint): void;
  /** The driver writes to the configuration space. False where it may not. */
  writeConfig(offset: number, bytes: Uint8Array): boolean;
  /** Back to the beginning. No queue runs. */
  reset(): void;
}
