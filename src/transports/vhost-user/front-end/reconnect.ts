// vhost-user/front-end: connects to a back end that does not listen yet, or no longer, with growing delays between attempts.
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventLoop } from '../../../sys/event-loop.ts';
import { RemoteBackEnd, type RemoteBackEndOptions } from './remote-back-end.ts';

const FIRST_MS = 10;
const LONGEST_MS = 500;

export interface ReconnectOptions extends RemoteBackEndOptions {
  /** Ends the attempts; the promise then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /**
   * Returns why a connected back end is not acceptable; it is then disconnected and tried again. Each reason is logged
   * once.
   */
  readonly objection: (backEnd: RemoteBackEnd) => string | undefined;
}

/** Resolves to a connected back end without objection. Rejects only when the signal is aborted. */
export async function reconnect(path: string, loop: EventLoop, options: ReconnectOptions): Promise<RemoteBackEnd> {
  const { signal, objection, log } = options;
  const logged = new Set<string>();
  let latest = '';
  // Log a reason only when it occurs twice in a row: a back end that is shutting down gives one-off errors.
  const logOnce = (line: string): void => {
    if (line === latest && !logged.has(line)) log(line);
    if (line === latest) logged.add(line);
    latest = line;
  };
  for (let delayMs = FIRST_MS; ; delayMs = Math.min(2 * delayMs, LONGEST_MS)) {
    signal.throwIfAborted();
    const backEnd = await RemoteBackEnd.connect(path, loop, options).catch((error: Error) => {
      if (!isNothingThere(error)) logOnce(error.message);
    });
    if (signal.aborted) backEnd?.[Symbol.dispose]();
    signal.throwIfAborted();
    const problem = backEnd && objection(backEnd);
    if (backEnd !== undefined && problem === undefined) return backEnd;
    if (problem !== undefined) logOnce(`the back end at ${path} is refused: ${problem}`);
    backEnd?.[Symbol.dispose]();
    await sleep(delayMs, undefined, { signal });
  }
}

function isNothingThere(error: Error & { readonly code?: string }): boolean {
  return ['ENOENT', 'ECONNREFUSED'].includes(error.code ?? '');
}
