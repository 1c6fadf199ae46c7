// vhost-user/protocol: the error of a front end that broke the protocol.

/** The front end broke the protocol. The session ends and the connection is closed; the server goes on listening. */
export class ProtocolError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_PROTOCOL';
  /** The message, as in `SET_MEM_TABLE`. */
  readonly messageName: string;

  constructor(messageName: string, problem: string) {
    super(`${messageName}: ${problem}`);
    this.name = 'ProtocolError';
    this.messageName = messageName;
  }
}
