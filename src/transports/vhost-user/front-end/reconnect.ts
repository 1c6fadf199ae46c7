// Ground floor: waits for a back end to listen at a socket again, or for the first time, looking more and more rarely.
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventLoop } from '../../../sys/event-loop.ts';
import { RemoteBackEnd, type RemoteBackEndOptions } from './remote-back-end.ts';

const FIRST_MS = 10;
const LONGEST_MS = 500;

export interface ReconnectOptions extends RemoteBackEndOptions {
  /** Ends the waiting: the promise is then rejected with its reason. */
  readonly signal: AbortSignal;
  /** Why a back end that is there will not do; it is left, and looked for again. Each reason is said once. */
  readonly objection: (backEnd: RemoteBackEnd) => string | undefined;
}

/** Returns a back end that is there and will do. Rejects only when the signal says so. */
export async function reconnect(path: string, loop: EventLoop, options: ReconnectOptions): Promise<RemoteBackEnd> {
  const { signal, objection, log } = options;
  const said = new Set<string>();
  let latest = '';
  // Log a reason only when it occurs twice in a row: a back end that is shutting down gives one-off errors.
  const sayOnce = (line: string): void => {
    if (line === latest && !said.has(line)) log(line);
    if (line === latest) said.add(line);
    latest = line;
  };
  for (let delayMs = FIRST_MS; ; delayMs = Math.min(2 * delayMs, LONGEST_MS)) {
    signal.throwIfAborted();
    const backEnd = await RemoteBackEnd.connect(path, loop, options).catch((error: Error) => {
      if (!isNothingThere(error)) sayOnce(error.message);
    });
    if (signal.aborted) backEnd?.[Symbol.dispose]();
    signal.throwIfAborted();
    const problem = backEnd && objection(backEnd);
    if (backEnd !== undefined && problem === undefined) return backEnd;
    if (problem !== undefined) sayOnce(`the back end at ${path} is refused: ${problem}`);
    backEnd?.[Symbol.dispose]();
    await sleep(delayMs, undefined, { signal });
  }
}

function isNothingThere(error: Error & { readonly code?: string }): boolean {
  return ['ENOENT', 'ECONNREFUSED'].includes(error.code ?? '');
}
