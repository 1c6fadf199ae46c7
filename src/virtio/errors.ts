// virtio: the error for a driver that breaks a MUST of the specification.

/** The driver broke a MUST. The queue stops; the device and its other queues go on. */
export class DriverError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_DRIVER';
  /** The clause of VIRTIO 1.3, as in `§2.7.5.2`. */
  readonly clause: string;

  constructor(clause: string, message: string) {
    super(`${message} (VIRTIO 1.3 ${clause})`);
    this.name = 'DriverError';
    this.clause = clause;
  }
}
