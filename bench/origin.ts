// bench: the origin of a result: date, version, command line.

export interface Origin {
  /** When it was measured: ISO 8601, UTC. */
  readonly date: string;
  /** Version of Belfry. */
  readonly belfry: string;
  /** The command line as it was typed. */
  readonly commandLine: string;
}

/** Formats the origin as a line of text. */
export function originLine({ date, belfry, commandLine }: Origin): string {
  return `${date.slice(0, 16).replace('T', ' ')} UTC, Belfry ${belfry}: ${commandLine}`;
}
