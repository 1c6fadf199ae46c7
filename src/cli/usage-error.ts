// cli: the error for a command line that cannot be run: one line that says what to type; exit 2.

export class UsageError extends Error {
  readonly code = 'BELFRY_USAGE';

  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** Returns a RangeError as a UsageError that begins with `what`; any other error as it is. */
export function asUsage(error: unknown, what = ''): unknown {
  if (!(error instanceof RangeError)) return error;
  const message = error.message.replace(/^blockSize/, '--block-size: the block size');
  return new UsageError(what === '' ? message : `${what}: ${message}`);
}
