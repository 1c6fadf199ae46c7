// config: JSON with comments and trailing commas, as a value and the line of each place in it.

/** What is wrong with a text. `line` counts from 1. */
export class ConfigTextError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'ConfigTextError';
    this.line = line;
  }
}

export interface ConfigText {
  readonly value: unknown;
  /** Returns the line of a place: of a member's name, or of an item. A place that is not there has that of its parent. */
  lineOf(path: readonly (string | number)[]): number;
}

const DEPTH_MAX = 32;
const TOKEN = /[ \t\r\n]+|\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const SCALAR = /"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Parses a text. Throws ConfigTextError. */
export function parseConfigText(text: string): ConfigText {
  const parser = new Parser(text.replace(/^\ufeff/, ''));
  const value = parser.whole();
  return {
    value,
    lineOf(path) {
      for (let length = path.length; length >= 0; length--) {
        const line = parser.lines.get(JSON.stringify(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return 1;
    },
  };
}

class Parser {
  /** By path as JSON. */
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): unknown {
    this.#skip();
    const value = this.#value([]);
    this.#skip();
    if (this.#at < this.#text.length) throw this.#wrong('nothing more is expected here');
    return value;
  }

  #wrong(message: string): ConfigTextError {
    return new ConfigTextError(this.#line, message);
  }

  /** Skips spaces and comments. */
  #skip(): void {
    for (;;) {
      TOKEN.lastIndex = this.#at;
      const found = TOKEN.exec(this.#text)?.[0];
      if (found === undefined) return;
      this.#at += found.length;
      this.#line += found.split('\n').length - 1;
    }
  }

  /** Takes `character` if it is next. */
  #takes(character: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    this.#skip();
    return true;
  }

  #value(path: readonly (string | number)[]): unknown {
    if (path.length > DEPTH_MAX) throw this.#wrong('it is nested too deeply');
    const key = JSON.stringify(path);
    if (!this.lines.has(key)) this.lines.set(key, this.#line);
    if (this.#takes('{')) return this.#object(path);
    if (this.#takes('[')) return this.#list(path);
    return this.#scalar('a value');
  }

  #scalar(wanted: string): unknown {
    SCALAR.lastIndex = this.#at;
    const word = SCALAR.exec(this.#text)?.[0];
    const shown = this.#text.slice(this.#at, this.#at + 20).split('\n')[0];
    if (word === undefined)
      throw this.#wrong(shown === '' ? `${wanted} is missing` : `${wanted} is expected at: ${shown}`);
    this.#at += word.length;
    try {
      return JSON.parse(word);
    } catch {
      throw this.#wrong(`${word.slice(0, 40)} is no text of JSON`);
    }
  }

  #object(path: readonly (string | number)[]): Record<string, unknown> {
    const members = new Map<string, unknown>();
    while (!this.#takes('}')) {
      const line = this.#line;
      const name = this.#scalar('a name in quotes');
      if (typeof name !== 'string') throw this.#wrong('a name in quotes is expected');
      if (members.has(name)) throw this.#wrong(`"${name}" is there twice`);
      this.lines.set(JSON.stringify([...path, name]), line);
      if (!this.#takes(':')) throw this.#wrong(`a colon is missing after "${name}"`);
      members.set(name, this.#value([...path, name]));
      if (!this.#takes(',') && this.#text[this.#at] !== '}')
        throw this.#wrong(`a comma or } is missing after "${name}"`);
    }
    return Object.fromEntries(members);
  }

  #list(path: readonly (string | number)[]): unknown[] {
    const items: unknown[] = [];
    while (!this.#takes(']')) {
      items.push(this.#value([...path, items.length]));
      if (!this.#takes(',') && this.#text[this.#at] !== ']') throw this.#wrong('a comma or ] is missing');
    }
    return items;
  }
}
