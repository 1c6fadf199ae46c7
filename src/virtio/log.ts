// virtio: log lines of a device, a transport or a store, and the name and level of the event for programs.

/** Whether the user has to act: `error` now, `warning` soon, `info` not at all. */
export type Level = 'info' | 'warning' | 'error';

/** The events and their levels. The names are stable: `belfry serve --json` prints them. */
export const EVENTS = {
  /** A front end connected. */
  connected: 'info',
  /** The driver starts to use the device; the line says what was negotiated. */
  started: 'info',
  /** A front end disconnected between two messages. */
  left: 'info',
  /** The configuration space changed: the size of a disk, of a terminal. */
  resized: 'info',
  /** A store that failed or did not answer works again. */
  recovered: 'info',
  /** No request is held any more. */
  resumed: 'info',
  /** A second device process waits to take over from the one that serves. */
  standby: 'info',
  /** Another device process serves: after the end of the one before, or after an upgrade. */
  restarted: 'info',
  /** The front end can end this process: its memory is not sealed against shrinking. */
  'memory-unsealed': 'info',
  /** A front end waits until the one that is served disconnects. */
  waiting: 'warning',
  /** The process was asked to end, and waits for requests in flight. */
  stopping: 'warning',
  /** A queue does not start or does not stop; the line says why. */
  'queue-waits': 'warning',
  /** A store has not answered a request for a second. */
  'store-waits': 'warning',
  /** A request of the driver or a message of the front end was refused. */
  refused: 'warning',
  /** A queue stopped: the driver broke a rule, or the device failed. */
  'queue-stopped': 'error',
  /** A session ended because of an error of the front end. */
  'session-ended': 'error',
  /** A store failed a request. */
  'store-failed': 'error',
  /** A store failed a request, which is held and tried again, with all later writes. */
  held: 'error',
  /** The process ends although requests are in flight; the line says why. */
  'given-up': 'error',
  /** A device process died, and is started again. */
  died: 'error',
  /** A new version serves. */
  upgraded: 'info',
  /** A new version could not take over. */
  'upgrade-failed': 'error',
  /** A device needs a reset, or failed. */
  'device-failed': 'error',
} as const satisfies { readonly [event: string]: Level };

/** The stable name of an event: `connected`, `store-failed`, … */
export type EventName = keyof typeof EVENTS;

/** The event behind a line, for programs. */
export interface About {
  /** The name of the event. */
  readonly event: EventName;
  /** The code of the error, where there is one: ENOSPC, BELFRY_PROTOCOL, … */
  readonly code?: string;
  readonly [field: string]: unknown;
}

/** Logs a line for the user. Without `about` it is a warning. */
export type Log = (line: string, about?: About) => void;

/** The level of a line. */
export function levelOf(about: About | undefined): Level {
  return about === undefined ? 'warning' : EVENTS[about.event];
}

/** Returns the code of an error, or of its cause (`fetch failed` has none of its own). Any thrown value is accepted. */
export function codeOf(error: unknown): { readonly code?: string } {
  try {
    const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
    const found = typeof code === 'string' ? code : (cause as { code?: unknown } | undefined)?.code;
    return typeof found === 'string' ? { code: found } : {};
  } catch {
    return {};
  }
}
