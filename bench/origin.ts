// bench: where a result comes from, so that two of them can be told apart.

export interface Origin {
  /** When it was measured: ISO 8601, UTC. */
  readonly date: string;
  /** Version of Belfry. */
  readonly belfry: string;
  /** As it was typed. */
  readonly commandLine: string;
}

/** For people, in a line. */
export function originLine({ date, belfry, commandLine }: Origin): string {
  return `${date.slice(0, 16).replace('T', ' ')} UTC, Belfry ${belfry}: ${commandLine}`;
}
