// Cellar: what a driver can do wrong, by the clause it broke.

/** The driver broke a MUST. Costs the driver its queue: the queue stops, the device goes on. */
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
