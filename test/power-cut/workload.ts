// test/power-cut: what a guest does to its file system: steps by seed, and what the file system owes during and after each.
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { type PathState, type Promised, Promises, promised } from './promises.ts';

export interface Step {
  /** Shell commands, which run in the root of the file system. */
  readonly shell: string;
  /** From the begin of the step on. */
  readonly during: readonly Promised[];
  /** From the end of the step on. */
  readonly after: readonly Promised[];
}

export interface Workload {
  readonly steps: readonly Step[];
  /** The bytes of the disk from which all content is copied. */
  readonly source: Uint8Array;
}

const FOLDERS = ['a', 'b', 'c'];
const SIZES = [1, 100, 511, 512, 513, 2000, 4095, 4096, 4097, 9000, 16384, 30001, 65536];
const LARGE_BYTES = 300_000;
const FILES_MAX = 40;
const SOURCE_PER_STEP = 24_000;
const SOURCE_DISK = '/dev/vdc';

const ABSENT: PathState = { is: 'absent' };
const ANYTHING: PathState = { is: 'anything' };
const file = (content: Uint8Array): PathState => ({ is: 'file', content });

/** Returns what is owed after `done` steps while the next one may have begun. */
export function promisesAfter({ steps }: Workload, done: number): Promises {
  const promises = new Promises();
  for (const step of steps.slice(0, done)) for (const promise of step.after) promises.add(promise);
  for (const promise of steps[done]?.during ?? []) promises.add(promise);
  return promises;
}

/** The same seed and count give the same workload. */
export function makeWorkload(seed: number, count: number): Workload {
  const maker = new WorkloadMaker(seed, count);
  return { steps: maker.steps(count), source: maker.source };
}

class WorkloadMaker {
  readonly source: Uint8Array;
  readonly #random: SeededRandom;
  /** What each file is once everything is written. */
  readonly #files = new Map<string, Uint8Array>();
  /** Files that changed since they were last made durable; they do not change again before the next `sync`. */
  readonly #dirty = new Set<string>();
  #named = 0;

  constructor(seed: number, count: number) {
    this.#random = new SeededRandom(seed);
    this.source = new Uint8Array(Math.ceil((count * SOURCE_PER_STEP + 2 * LARGE_BYTES) / 4096) * 4096);
    this.#random.fill(this.source);
  }

  steps(count: number): Step[] {
    const first: Step = { shell: `mkdir ${FOLDERS.join(' ')} && sync`, during: [], after: [] };
    return [first, ...Array.from({ length: count - 1 }, () => this.#step())];
  }

  #step(): Step {
    const settled = [...this.#files.keys()].filter((path) => !this.#dirty.has(path));
    const kind = this.#random.below(24);
    if (kind === 0) return this.#trim();
    if (kind === 1 || this.#dirty.size > 6) return this.#sync();
    if (settled.length < 3 || (kind < 8 && settled.length < FILES_MAX)) return this.#create();
    const path = this.#random.of(settled);
    if (kind < 11) return this.#remove(path);
    if (kind < 14) return this.#move(path);
    if (kind < 18) return this.#replace(path);
    return kind < 21 ? this.#append(path) : this.#overwrite(path);
  }

  #create(): Step {
    const path = this.#newPath();
    const { content, words } = this.#content();
    this.#files.set(path, content);
    return this.#finish([path], promised(path, ANYTHING), promised(path, file(content)), {
      act: `dd ${words} of=${path}`,
      syncs: [path, folderOf(path)],
    });
  }

  #append(path: string): Step {
    const before = this.#contentOf(path);
    const { content, words } = this.#content();
    const after = joined(before, content);
    this.#files.set(path, after);
    return this.#finish([path], promised(path, { is: 'prefix', content: before }), promised(path, file(after)), {
      act: `dd ${words} of=${path} oflag=append conv=notrunc`,
      syncs: [path],
    });
  }

  /** Writes into the middle of the file, whose length stays. */
  #overwrite(path: string): Step {
    const before = this.#contentOf(path);
    const from = this.#random.below(before.length);
    const { content, words } = this.#content(before.length - from);
    const after = before.slice();
    after.set(content, from);
    this.#files.set(path, after);
    return this.#finish([path], promised(path, { is: 'sectors', before, after }), promised(path, file(after)), {
      act: `dd ${words} of=${path} oflag=seek_bytes seek=${from} conv=notrunc`,
      syncs: [path],
    });
  }

  /** As editors and package managers do: a new file takes the place of the old one, which is never seen in between. */
  #replace(path: string): Step {
    const before = this.#contentOf(path);
    const { content, words } = this.#content();
    const temporary = `${path}.new`;
    this.#files.set(path, content);
    const during: Promised = {
      paths: [path, temporary],
      oneOf: [
        [file(before), ANYTHING],
        [file(content), ABSENT],
      ],
    };
    const after: Promised = { paths: [path, temporary], oneOf: [[file(content), ABSENT]] };
    return this.#finish([path], during, after, {
      act: `dd ${words} of=${temporary} && sync ${temporary} && mv ${temporary} ${path}`,
      syncs: [folderOf(path)],
    });
  }

  #move(path: string): Step {
    const content = this.#contentOf(path);
    const target = this.#newPath();
    this.#files.delete(path);
    this.#files.set(target, content);
    const paths = [path, target];
    const [stays, moved] = [
      [file(content), ABSENT],
      [ABSENT, file(content)],
    ] as const;
    return this.#finish(
      [target],
      { paths, oneOf: [stays, moved] },
      { paths, oneOf: [moved] },
      {
        act: `mv ${path} ${target}`,
        syncs: [...new Set([folderOf(path), folderOf(target)])],
      },
    );
  }

  #remove(path: string): Step {
    const content = this.#contentOf(path);
    this.#files.delete(path);
    return this.#finish([path], promised(path, file(content), ABSENT), promised(path, ABSENT), {
      act: `rm ${path}`,
      syncs: [folderOf(path)],
    });
  }

  #trim(): Step {
    return { shell: 'fstrim . || true', during: [], after: [] };
  }

  #sync(): Step {
    const after = [...this.#dirty].map((path) => {
      const content = this.#files.get(path);
      return promised(path, content === undefined ? ABSENT : file(content));
    });
    this.#dirty.clear();
    return { shell: 'sync', during: [], after };
  }

  /** A step that makes its change durable, or one in four that does not. */
  #finish(
    touched: readonly string[],
    during: Promised,
    after: Promised,
    { act, syncs }: { act: string; syncs: readonly string[] },
  ): Step {
    if (this.#random.oneIn(4)) {
      for (const path of touched) this.#dirty.add(path);
      return { shell: act, during: [during], after: [during] };
    }
    return { shell: `${act} && sync ${syncs.join(' ')}`, during: [during], after: [after] };
  }

  #newPath(): string {
    return `${this.#random.of(FOLDERS)}/f${this.#named++}`;
  }

  #contentOf(path: string): Uint8Array {
    return this.#files.get(path) as Uint8Array;
  }

  /** A piece of the source, and dd's words that read it. */
  #content(lengthMax = LARGE_BYTES): { content: Uint8Array; words: string } {
    const wanted = this.#random.oneIn(20) ? LARGE_BYTES : this.#random.of(SIZES);
    const length = Math.min(wanted, lengthMax);
    const from = this.#random.below(this.source.length - length);
    const words = `if=${SOURCE_DISK} bs=64k iflag=skip_bytes,count_bytes skip=${from} count=${length}`;
    return { content: this.source.subarray(from, from + length), words };
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
