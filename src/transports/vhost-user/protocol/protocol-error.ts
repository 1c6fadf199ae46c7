// Ground floor: what a front end can do wrong.

/** The front end broke the protocol. Costs it the session: the connection is closed, the socket listens on. */
export class ProtocolError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_PROTOCOL';
  /** The message it was in, as in `SET_MEM_TABLE`. */
  readonly messageName: string;

  constructor(messageName: string, problem: string) {
    super(`${messageName}: ${problem}`);
    this.name = 'ProtocolError';
    this.messageName = messageName;
  }
}
