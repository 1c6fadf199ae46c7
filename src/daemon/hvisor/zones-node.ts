// daemon/hvisor: one value of a zones file with its place: what it is to be, and errors that name line and key.
import type { Located } from './json-with-lines.ts';

/** The file that is read, and what there is to say about it. */
export interface ZonesReading {
  readonly file: string;
  readonly notes: string[];
}

/** A value of the file. Every function throws RangeError, "FILE:LINE: KEY: what is wrong", where it is another. */
export class ZonesNode {
  /** `zones[0].devices[1].irq` */
  readonly path: string;
  readonly #reading: ZonesReading;
  readonly #located: Located;
  readonly #known = new Set<string>();

  constructor(reading: ZonesReading, path: string, located: Located) {
    this.#reading = reading;
    this.path = path;
    this.#located = located;
  }

  /** `virtio_cfg.json:12` */
  get where(): string {
    return `${this.#reading.file}:${this.#located.line}`;
  }

  get isText(): boolean {
    return typeof this.#located.value === 'string';
  }

  fail(what: string): never {
    throw new RangeError(this.#line(what));
  }

  /** Something to say that is no error. */
  note(what: string): void {
    this.#reading.notes.push(this.#line(what));
  }

  #line(what: string): string {
    return `${this.where}: ${this.path === '' ? '' : `${this.path}: `}${what}`;
  }

  member(key: string): ZonesNode {
    return this.optional(key) ?? this.fail(`"${key}" is missing`);
  }

  optional(key: string): ZonesNode | undefined {
    const { value } = this.#located;
    if (!(value instanceof Map)) return this.fail('an object { … } is wanted');
    this.#known.add(key);
    const located = value.get(key);
    return located && new ZonesNode(this.#reading, this.path === '' ? key : `${this.path}.${key}`, located);
  }

  /** Notes the members that nothing asked for. */
  skipOthers(): void {
    const { value } = this.#located;
    if (value instanceof Map)
      for (const key of value.keys()) if (!this.#known.has(key)) this.note(`the key "${key}" is not known: skipped`);
  }

  items(most: number): ZonesNode[] {
    const { value } = this.#located;
    if (!Array.isArray(value)) return this.fail('a list [ … ] is wanted');
    if (value.length > most) this.fail(`more than ${most}`);
    return value.map((one: Located, i) => new ZonesNode(this.#reading, `${this.path}[${i}]`, one));
  }

  text(): string {
    const { value } = this.#located;
    return typeof value === 'string' && value !== '' ? value : this.fail('a text in quotes is wanted');
  }

  /** A number, or a text in base 10, 16 (0x…) or 8 (0…), as strtoull(3) has it. */
  number(least: number, most = Number.MAX_SAFE_INTEGER): number {
    const { value } = this.#located;
    const number = typeof value === 'string' ? parseAnyBase(value) : value;
    if (typeof number !== 'number' || !Number.isSafeInteger(number))
      return this.fail(`a whole number is wanted, such as 78 or "0x4e"`);
    if (number < least || number > most) this.fail(`${String(value)} is not from ${least} to 0x${most.toString(16)}`);
    return number;
  }

  /** Calls `make` with `text`; a RangeError of it is about this value. */
  attempt<T>(make: (text: string) => T, text: string): T {
    try {
      return make(text);
    } catch (error) {
      if (error instanceof RangeError) this.fail(error.message);
      throw error;
    }
  }
}

function parseAnyBase(text: string): number {
  if (/^0x[\da-f]+$/i.test(text)) return Number(text);
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  return /^(?:0|[1-9]\d*)$/.test(text) ? Number(text) : Number.NaN;
}
