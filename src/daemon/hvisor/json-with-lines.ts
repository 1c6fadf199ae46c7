// daemon/hvisor: parses JSON and keeps the line of each value, so that an error can name it.

/** Deeper files are refused. */
const DEPTH_MAX = 16;

/** A value and the line at which it begins, from 1. */
export interface Located {
  readonly line: number;
  readonly value: null | boolean | number | string | readonly Located[] | ReadonlyMap<string, Located>;
}

/** Parses a JSON text. Throws RangeError: "LINE: what is wrong". */
export function parseJsonWithLines(text: string): Located {
  return new Parser(text).whole();
}

class Parser {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Located {
    const value = this.#value(0);
    this.#skip();
    if (this.#at < this.#text.length) this.#fail('the file is to end here');
    return value;
  }

  #fail(what: string): never {
    throw new RangeError(`${this.#line}: ${what}`);
  }

  #skip(): void {
    for (; /[ \t\r\n]/.test(this.#text[this.#at] ?? ''); this.#at++) if (this.#text[this.#at] === '\n') this.#line++;
  }

  /** Skips white space and takes `character` if it is next. */
  #takes(character: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #value(depth: number): Located {
    if (depth > DEPTH_MAX) this.#fail(`more than ${DEPTH_MAX} values are within each other`);
    this.#skip();
    const line = this.#line;
    if (this.#takes('{')) return { line, value: this.#members(depth + 1) };
    if (this.#takes('[')) return { line, value: this.#items(depth + 1) };
    if (this.#text[this.#at] === '"') return { line, value: this.#string() };
    return { line, value: this.#word() };
  }

  #members(depth: number): ReadonlyMap<string, Located> {
    const members = new Map<string, Located>();
    if (this.#takes('}')) return members;
    do {
      this.#skip();
      if (this.#text[this.#at] !== '"') this.#fail('a key in quotes is missing here');
      const key = this.#string();
      if (members.has(key)) this.#fail(`the key "${key}" is here twice`);
      if (!this.#takes(':')) this.#fail(`a ":" is missing after "${key}"`);
      members.set(key, this.#value(depth));
    } while (this.#takes(','));
    if (!this.#takes('}')) this.#fail('a "," or "}" is missing here');
    return members;
  }

  #items(depth: number): readonly Located[] {
    const items: Located[] = [];
    if (this.#takes(']')) return items;
    do items.push(this.#value(depth));
    while (this.#takes(','));
    if (!this.#takes(']')) this.#fail('a "," or "]" is missing here');
    return items;
  }

  #string(): string {
    return this.#plain(/"(?:[^"\\\n]|\\.)*"/y, 'the text has no end in its line') as string;
  }

  #word(): null | boolean | number {
    return this.#plain(/true|false|null|-?[\d.eE+-]+/y, 'a value is missing here') as null | boolean | number;
  }

  /** A value without others in it, which JSON.parse understands. */
  #plain(pattern: RegExp, problem: string): unknown {
    pattern.lastIndex = this.#at;
    const [word] = pattern.exec(this.#text) ?? this.#fail(problem);
    try {
      const value = JSON.parse(word);
      this.#at += word.length;
      return value;
    } catch {
      return this.#fail(`${word} is no JSON`);
    }
  }
}
