// Upper floor: what a person typed cannot be done. One line that says what to type; exit 2.

export class UsageError extends Error {
  readonly code = 'BELFRY_USAGE';

  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}
