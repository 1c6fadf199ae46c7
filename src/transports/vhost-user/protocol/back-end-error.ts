// Ground floor: a vhost-user back end that does not do what it was asked.

/** The back end did not do what was asked: it refused, answered something else, went away or stayed silent. */
export class BackEndError extends Error {
  readonly code = 'BELFRY_BACK_END';
  /** The message it was about, as in `SET_MEM_TABLE`. */
  readonly messageName: string;

  constructor(messageName: string, problem: string) {
    super(`${messageName}: the back end ${problem}`);
    this.name = 'BackEndError';
    this.messageName = messageName;
  }
}
