// test/power-cut: what a file system owes after a power cut, and how the files that it has are judged by that.
import { SECTOR_BYTES } from './recording.ts';

/** The regular files of a file system: path without a leading slash, and content. */
export type Files = ReadonlyMap<string, Uint8Array>;

/**
 * What one path may be: exactly this file, nothing, a file that begins so, a file whose sectors are each of one of
 * two contents, or anything.
 */
export type PathState =
  | { readonly is: 'file' | 'prefix'; readonly content: Uint8Array }
  | { readonly is: 'sectors'; readonly before: Uint8Array; readonly after: Uint8Array }
  | { readonly is: 'absent' | 'anything' };

/** What some paths owe together: one of these combinations of states. */
export interface Promised {
  readonly paths: readonly string[];
  readonly oneOf: readonly (readonly PathState[])[];
}

export function promised(path: string, ...states: readonly PathState[]): Promised {
  return { paths: [path], oneOf: states.map((state) => [state]) };
}

/** What a file system owes at some moment. A new promise about a path replaces all earlier ones about it. */
export class Promises {
  readonly #byPath = new Map<string, Promised>();

  add(promise: Promised): void {
    for (const path of promise.paths) this.#remove(path);
    for (const path of promise.paths) this.#byPath.set(path, promise);
  }

  /** Number of paths about which something is promised. */
  get size(): number {
    return this.#byPath.size;
  }

  /** Returns a line for each promise that `files` breaks. */
  broken(files: Files): string[] {
    return [...new Set(this.#byPath.values())].flatMap((promise) => problemOf(promise, files) ?? []);
  }

  #remove(path: string): void {
    for (const other of this.#byPath.get(path)?.paths ?? []) this.#byPath.delete(other);
  }
}

function problemOf({ paths, oneOf }: Promised, files: Files): string | undefined {
  const holds = oneOf.some((states) => states.every((state, i) => isIn(state, files.get(paths[i] as string))));
  if (holds) return undefined;
  const what = paths.map((path, i) => {
    const wanted = oneOf.map((states) => describeState(states[i] as PathState)).join(' or ');
    return `${path} is ${describeFile(files.get(path), oneOf[0]?.[i])}, and has to be ${wanted}`;
  });
  return what.join('; ');
}

function isIn(state: PathState, file: Uint8Array | undefined): boolean {
  switch (state.is) {
    case 'anything':
      return true;
    case 'absent':
      return file === undefined;
    case 'file':
      return file !== undefined && isEqual(file, state.content);
    case 'prefix':
      return file !== undefined && isEqual(file.subarray(0, state.content.length), state.content);
    case 'sectors':
      return file !== undefined && isMixture(file, state.before, state.after);
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && firstDifference(a, b) === undefined;
}

function firstDifference(a: Uint8Array, b: Uint8Array): number | undefined {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) if (a[i] !== b[i]) return i;
  return a.length === b.length ? undefined : common;
}

function isMixture(file: Uint8Array, before: Uint8Array, after: Uint8Array): boolean {
  if (file.length !== before.length) return false;
  for (let from = 0; from < file.length; from += SECTOR_BYTES) {
    const [sector, old, changed] = [file, before, after].map((bytes) => bytes.subarray(from, from + SECTOR_BYTES));
    if (!isEqual(sector as Uint8Array, old as Uint8Array) && !isEqual(sector as Uint8Array, changed as Uint8Array))
      return false;
  }
  return true;
}

function describeState(state: PathState): string {
  switch (state.is) {
    case 'file':
      return `its ${state.content.length} bytes`;
    case 'prefix':
      return `a file that begins with its ${state.content.length} bytes`;
    case 'sectors':
      return `${state.before.length} bytes, each sector the old or the new one`;
    default:
      return state.is;
  }
}

function describeFile(file: Uint8Array | undefined, wanted: PathState | undefined): string {
  if (file === undefined) return 'lost';
  const content = wanted?.is === 'sectors' ? wanted.before : wanted && 'content' in wanted ? wanted.content : undefined;
  const difference = content && firstDifference(file, content);
  return `${file.length} bytes${difference === undefined ? '' : `, wrong from byte ${difference} on`}`;
}
