// Cellar: what a device, a transport or a store has to tell a person, and the name of what happened, for programs.

/** Whether somebody has to act: `error` now, `warning` soon, `info` not at all. */
export type Level = 'info' | 'warning' | 'error';

/** What can happen, and how bad it is. The names are stable: they are what `belfry serve --json` prints. */
export const EVENTS = {
  /** A front end connected. */
  connected: 'info',
  /** The driver uses the device: what was negotiated. */
  started: 'info',
  /** A front end left, or closed the connection between two messages. */
  left: 'info',
  /** The configuration space changed: the size of a disk, of a terminal. */
  resized: 'info',
  /** What failed works again. */
  recovered: 'info',
  /** The front end can end this process: its memory is not sealed against shrinking. */
  'memory-unsealed': 'info',
  /** A front end waits until the one that is served leaves. */
  waiting: 'warning',
  /** The end was asked for, and waits for requests in flight. */
  stopping: 'warning',
  /** A queue does not start, or does not stop, and why. */
  'queue-waits': 'warning',
  /** A store has not answered a request for a second. */
  'store-waits': 'warning',
  /** The driver or the front end asked for something that was refused. */
  refused: 'warning',
  /** A queue stopped: the driver broke a rule, or the device failed. */
  'queue-stopped': 'error',
  /** A session ended, by a mistake of the front end. */
  'session-ended': 'error',
  /** A store failed a request. */
  'store-failed': 'error',
  /** The end did not wait any longer. */
  'given-up': 'error',
  /** A device needs a reset, or failed. */
  'device-failed': 'error',
} as const satisfies { readonly [event: string]: Level };

/** The stable name of what happened, as in `connected`, `store-failed`. */
export type EventName = keyof typeof EVENTS;

/** What a line is about, for programs. */
export interface About {
  /** What happened. */
  readonly event: EventName;
  /** Of the error, where there is one: ENOSPC, BELFRY_PROTOCOL, … */
  readonly code?: string;
  readonly [field: string]: unknown;
}

/** Takes a line a person should know. Without `about` it is a warning. */
export type Log = (line: string, about?: About) => void;

/** How bad it is. */
export function levelOf(about: About | undefined): Level {
  return about === undefined ? 'warning' : EVENTS[about.event];
}

/** The code of an error, or of its cause (`fetch failed` has none of its own). What was thrown may be anything. */
export function codeOf(error: unknown): { readonly code?: string } {
  try {
    const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
    const found = typeof code === 'string' ? code : (cause as { code?: unknown } | undefined)?.code;
    return typeof found === 'string' ? { code: found } : {};
  } catch {
    return {};
  }
}
