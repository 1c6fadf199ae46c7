// Upper floor: what a person typed cannot be done. One line that says what to type; exit 2.

export class UsageError extends Error {
  readonly code = 'BELFRY_USAGE';

  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** An error that a person's arguments caused, where it is one: RangeError says that a value is out of range. */
export function asUsage(error: unknown, what = ''): unknown {
  if (!(error instanceof RangeError)) return error;
  const message = error.message.replace(/^blockSize/, '--block-size: the block size');
  return new UsageError(what === '' ? message : `${what}: ${message}`);
}
