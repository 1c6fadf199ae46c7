// test/power-cut: the bytes of a disk as pages over those of another image, so that a changed copy costs what changed.
import type { BlockStore } from '../../src/index.ts';
import type { DataChange } from './recording.ts';

const PAGE_BYTES = 4096;
const ZEROES = new Uint8Array(PAGE_BYTES);

export class PagedImage {
  readonly sizeBytes: number;
  readonly #base: PagedImage | undefined;
  /** A page that is `ZEROES` itself is replaced before it is written. */
  readonly #pages = new Map<number, Uint8Array>();

  /** Zeroes where `base` is absent. `base` must not change as long as this image is used. */
  constructor(sizeBytes: number, base?: PagedImage) {
    this.sizeBytes = sizeBytes;
    this.#base = base;
  }

  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const { page, within, count } = pieceAt(offset + done, into.length - done);
      into.set(this.#page(page).subarray(within, within + count), done);
      done += count;
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const { page, within, count } = pieceAt(offset + done, from.length - done);
      this.#ownPage(page).set(from.subarray(done, done + count), within);
      done += count;
    }
  }

  zero(offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const { page, within, count } = pieceAt(offset + done, length - done);
      if (count === PAGE_BYTES) this.#pages.set(page, ZEROES);
      else this.#ownPage(page).fill(0, within, within + count);
      done += count;
    }
  }

  /** Applies bytes [from, to) of a change; the whole of it by default. */
  apply(change: DataChange, from = 0, to = change.kind === 'write' ? change.bytes.length : change.length): void {
    if (change.kind === 'write') this.write(change.offset + from, change.bytes.subarray(from, to));
    else this.zero(change.offset + from, to - from);
  }

  /** The pages that hold anything but zeroes, by their offset: what has to be stored of a sparse image. */
  *content(): Generator<readonly [offset: number, bytes: Uint8Array]> {
    const pages = new Set<number>();
    for (let image: PagedImage | undefined = this; image !== undefined; image = image.#base)
      for (const page of image.#pages.keys()) pages.add(page);
    for (const page of pages) {
      const bytes = this.#page(page);
      if (bytes !== ZEROES) yield [page * PAGE_BYTES, bytes.subarray(0, this.sizeBytes - page * PAGE_BYTES)];
    }
  }

  #page(page: number): Uint8Array {
    const base = this.#base;
    return this.#pages.get(page) ?? (base === undefined ? ZEROES : base.#page(page));
  }

  #ownPage(page: number): Uint8Array {
    const own = this.#pages.get(page);
    if (own !== undefined && own !== ZEROES) return own;
    const copy = this.#page(page).slice();
    this.#pages.set(page, copy);
    return copy;
  }
}

function pieceAt(offset: number, left: number): { page: number; within: number; count: number } {
  const page = Math.floor(offset / PAGE_BYTES);
  const within = offset - page * PAGE_BYTES;
  return { page, within, count: Math.min(left, PAGE_BYTES - within) };
}

/** A disk whose bytes are those of `image()` at the moment of each request. */
export function imageStore(sizeBytes: number, image: () => PagedImage): BlockStore {
  return {
    sizeBytes,
    read: (offset, into) => image().read(offset, into),
    write: (offset, from) => image().write(offset, from),
    flush: () => {},
    discard: (offset, length) => image().zero(offset, length),
    writeZeroes: (offset, length) => image().zero(offset, length),
  };
}
