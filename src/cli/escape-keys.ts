// cli: what Ctrl-A means on a terminal whose keys go to a guest.
import { Transform } from 'node:stream';

/** Ctrl-A. */
const ESCAPE = 0x01;

export interface EscapeActions {
  /** By the key after Ctrl-A. */
  readonly [key: string]: () => void;
}

/** Parses typed keys: Ctrl-A and a key of `actions` is an action, everything else is for the guest. */
export class EscapeKeys {
  readonly #actions: ReadonlyMap<number, () => void>;
  readonly #passesOthers: boolean;
  #isEscaped = false;

  /** @param passesOthers Ctrl-A and a key that has no action are both passed on; else the Ctrl-A is dropped. */
  constructor(actions: EscapeActions, { passesOthers }: { readonly passesOthers: boolean }) {
    this.#actions = new Map(Object.entries(actions).map(([key, action]) => [key.charCodeAt(0), action]));
    this.#passesOthers = passesOthers;
  }

  /** Returns what is for the guest. A Ctrl-A at the end waits for the next key. */
  take(typed: Uint8Array): Uint8Array {
    const passed: number[] = [];
    for (const byte of typed) {
      const wasEscaped = this.#isEscaped;
      this.#isEscaped = !wasEscaped && byte === ESCAPE;
      if (this.#isEscaped) continue;
      const action = wasEscaped ? this.#actions.get(byte) : undefined;
      if (action !== undefined) action();
      else passed.push(...(wasEscaped && this.#passesOthers ? [ESCAPE, byte] : [byte]));
    }
    return Uint8Array.from(passed);
  }
}

/** Returns `keys` as a stream: typed keys are its input, what is for the guest is its output. */
export function keyStream(keys: EscapeKeys): Transform {
  return new Transform({ transform: (typed, _encoding, done) => done(null, keys.take(typed)) });
}

/** Returns what Ctrl-A h shows. @param inOrder the guest's command that shuts it down. */
export function keysHelp(inOrder: string): string {
  return [
    '',
    `Ctrl-A x  ends the guest at once, as if it lost power; ${inOrder} ends it in order`,
    'Ctrl-A h  shows this; so does Ctrl-A ?',
    'Ctrl-A Ctrl-A is Ctrl-A for the guest; every other key, Ctrl-C too, goes to it as it is',
    '',
  ].join('\r\n');
}
