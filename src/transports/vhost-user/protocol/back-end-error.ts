// vhost-user/protocol: the error of a vhost-user back end that did not answer as it has to.

/**
 * A vhost-user back end refused a message, answered something else, closed the connection, or did not answer in time.
 */
export class BackEndError extends Error {
  readonly code = 'BELFRY_BACK_END';
  /** The message, as in `SET_MEM_TABLE`. */
  readonly messageName: string;

  constructor(messageName: string, problem: string) {
    super(`${messageName}: the back end ${problem}`);
    this.name = 'BackEndError';
    this.messageName = messageName;
  }
}
