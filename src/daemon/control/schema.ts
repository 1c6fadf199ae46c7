// control: the part of JSON Schema that Belfry's own schemas use: the type of a value, and what is wrong with one.

/** A schema. The keywords mean what JSON Schema 2020-12 says. */
export type Schema =
  | { readonly enum: readonly string[]; readonly description?: string }
  | { readonly type: 'string'; readonly pattern?: string; readonly maxLength?: number; readonly description?: string }
  | {
      readonly type: 'integer' | 'number';
      readonly minimum?: number;
      readonly maximum?: number;
      readonly description?: string;
    }
  | { readonly type: 'boolean'; readonly description?: string }
  | { readonly type: 'array'; readonly items: Schema; readonly maxItems?: number; readonly description?: string }
  | ObjectSchema;

/** An object. Without `additionalProperties` it has no other members than `properties`. */
export interface ObjectSchema {
  readonly type: 'object';
  readonly properties: Readonly<Record<string, Schema>>;
  readonly required: readonly string[];
  readonly additionalProperties?: Schema;
  readonly description?: string;
}

/** The type of the values that a schema allows. */
export type ValueOf<S> = S extends { readonly enum: readonly (infer Word)[] }
  ? Word
  : S extends { readonly type: 'string' }
    ? string
    : S extends { readonly type: 'integer' | 'number' }
      ? number
      : S extends { readonly type: 'boolean' }
        ? boolean
        : S extends { readonly type: 'array'; readonly items: infer Item }
          ? readonly ValueOf<Item>[]
          : S extends { readonly properties: infer P; readonly required: readonly (infer R)[] }
            ? MembersOf<P, R> & MoreOf<S>
            : never;

type MembersOf<P, R> = { readonly [Name in keyof P as Name extends R ? Name : never]: ValueOf<P[Name]> } & {
  readonly [Name in keyof P as Name extends R ? never : Name]?: ValueOf<P[Name]> | undefined;
};

type MoreOf<S> = S extends { readonly additionalProperties: infer Other }
  ? { readonly [name: string]: ValueOf<Other> }
  : unknown;

/** What is wrong with a value. `path`: the names and indices that lead to the place. */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Returns everything that is wrong with `value`; an empty list if `schema` allows it. */
export function problemsOf(schema: Schema, value: unknown, path: Problem['path'] = []): Problem[] {
  const wrong = (message: string): Problem[] => [{ path, message }];
  if ('enum' in schema)
    return schema.enum.some((word) => word === value) ? [] : wrong(`it is one of: ${schema.enum.join(', ')}`);
  switch (schema.type) {
    case 'string':
      return typeof value === 'string' ? problemsOfText(schema, value, path) : wrong('it is a text');
    case 'boolean':
      return typeof value === 'boolean' ? [] : wrong('it is true or false');
    case 'array':
      if (!Array.isArray(value)) return wrong('it is a list');
      if (value.length > (schema.maxItems ?? Infinity)) return wrong(`it has at most ${schema.maxItems} items`);
      return value.flatMap((item, index) => problemsOf(schema.items, item, [...path, index]));
    case 'object':
      return problemsOfObject(schema, value, path);
    default:
      return isNumber(schema, value) ? [] : wrong(wantedNumber(schema));
  }
}

type TextSchema = Extract<Schema, { type: 'string' }>;
type NumberSchema = Extract<Schema, { type: 'integer' | 'number' }>;

function problemsOfText({ pattern, maxLength = Infinity }: TextSchema, text: string, path: Problem['path']): Problem[] {
  if (text.length > maxLength) return [{ path, message: `it has at most ${maxLength} characters` }];
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(text))
    return [{ path, message: `"${text}" does not match ${pattern}` }];
  return [];
}

function isNumber({ type, minimum = -Infinity, maximum = Infinity }: NumberSchema, value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isFinite(value)) return false;
  return value >= minimum && value <= maximum && (type === 'number' || Number.isSafeInteger(value));
}

function wantedNumber({ type, minimum, maximum }: NumberSchema): string {
  const what = type === 'integer' ? 'it is a whole number' : 'it is a number';
  if (minimum !== undefined && maximum !== undefined) return `${what} from ${minimum} to ${maximum}`;
  return minimum === undefined ? what : `${what} of ${minimum} or more`;
}

function problemsOfObject(schema: ObjectSchema, value: unknown, path: Problem['path']): Problem[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [{ path, message: 'it is an object' }];
  const { properties, required, additionalProperties } = schema;
  const missing = required.filter((name) => !Object.hasOwn(value, name));
  const inside = Object.entries(value).flatMap(([name, member]) => {
    const at = [...path, name];
    // An absent member may be written as undefined by our own code; JSON has none.
    if (member === undefined) return [];
    const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    return known === undefined ? unknownName(name, Object.keys(properties), at) : problemsOf(known, member, at);
  });
  return [...missing.map((name) => ({ path, message: `"${name}" is missing` })), ...inside];
}

function unknownName(name: string, known: readonly string[], path: Problem['path']): Problem[] {
  const nearest = known.find((one) => one.toLowerCase().replaceAll(/[-_]/g, '') === plain(name));
  const advice = nearest === undefined ? `known are: ${known.join(', ') || 'none'}` : `did you mean "${nearest}"?`;
  return [{ path, message: `"${name}" is not known; ${advice}` }];
}

const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '');

/** Returns a problem as one line: `devices.web.size: it is a text`. */
export function problemLine({ path, message }: Problem): string {
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}
