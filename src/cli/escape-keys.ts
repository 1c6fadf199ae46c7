// Upper floor: what Ctrl-A means on a terminal whose keys go to a guest.

/** Ctrl-A. */
const ESCAPE = 0x01;

export interface EscapeActions {
  /** By the key after Ctrl-A. */
  readonly [key: string]: () => void;
}

/** Takes what is typed apart: Ctrl-A and a key of `actions` is an action, everything else is for the guest. */
export class EscapeKeys {
  readonly #actions: ReadonlyMap<number, () => void>;
  readonly #passesOthers: boolean;
  #isEscaped = false;

  /** @param passesOthers Ctrl-A and another key stay as they are; else the Ctrl-A is dropped. */
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
