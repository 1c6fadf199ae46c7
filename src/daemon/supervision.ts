// daemon: what a supervisor and its device processes say to each other. They may be of different versions of Belfry:
// messages are only ever added, and an unknown one is ignored.

/** The descriptor of the listening socket in a device process. */
export const LISTEN_FD = 3;

/** The environment variable that makes a process a device process. Its value: the supervisor's pid. */
export const SUPERVISOR_VARIABLE = 'BELFRY_SUPERVISOR';

/** Signals that are passed on as messages: a process that has not begun to serve would die of them. */
export type PassedSignal = 'SIGHUP' | 'SIGCONT' | 'SIGUSR2';

export type ToDeviceProcess =
  /** Open the device, which no other process uses any more, and serve it. */
  | { readonly type: 'serve' }
  /** End in order. Further ones change nothing. */
  | { readonly type: 'stop' }
  /**
   * End in order, but do not flush what the next process finds in the page cache, and leave it what is held. Answered by
   * `refused` if that is not possible.
   */
  | { readonly type: 'pass-on' }
  /** End without waiting for requests in flight. */
  | { readonly type: 'give-up' }
  | { readonly type: 'signal'; readonly signal: PassedSignal }
  /** A request of the control socket. Answered by `answer` with the same id. */
  | { readonly type: 'call'; readonly id: number; readonly method: string; readonly params: unknown };

export type FromDeviceProcess =
  /** Everything is loaded; it waits for `serve`. `rehearsed`: requests that it has served of a front end of its own. */
  | { readonly type: 'warm'; readonly version: string; readonly rehearsed?: number }
  /** It serves. `served` is what the command line prints about it. */
  | { readonly type: 'ready'; readonly served: unknown }
  /** It does not end, and serves on: `line` says why, and what to do. */
  | { readonly type: 'refused'; readonly line: string }
  /** It has closed the device, and is about to end. */
  | { readonly type: 'released' }
  /** `problem`: the error of the answer instead of a result. */
  | {
      readonly type: 'answer';
      readonly id: number;
      readonly result?: unknown;
      readonly problem?: { readonly code: number; readonly message: string };
    }
  /** An event for the clients of the control socket. */
  | { readonly type: 'event'; readonly event: unknown }
  /** A STATUS for the service manager, which listens to its main process alone. */
  | { readonly type: 'status'; readonly line: string };
