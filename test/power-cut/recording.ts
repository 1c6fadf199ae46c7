// test/power-cut: what a disk was asked to do, in order: the begin and the end of each request, and the workload's marks.

export const SECTOR_BYTES = 512;

/** What a request changes. A discarded sector reads as zeroes here. */
export type DataChange =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'discard' | 'write-zeroes'; readonly offset: number; readonly length: number };

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Events are numbered: every begin, end and mark has its own number. */
export interface Span {
  readonly begun: number;
  /** Infinity while the request is in flight, and for one that failed. */
  readonly ended: number;
}

export type RecordedChange = Readonly<DataChange> & Span;

export interface Mark {
  readonly event: number;
  readonly text: string;
}

/** A change to the disk, or a flush, between its begin and its end. */
export class Running {
  readonly #end: () => void;

  constructor(end: () => void) {
    this.#end = end;
  }

  /** The request succeeded. Not called for one that fails: it may have changed any of its sectors. */
  end(): void {
    this.#end();
  }
}

export class Recording {
  readonly changes: RecordedChange[] = [];
  readonly flushes: Span[] = [];
  readonly marks: Mark[] = [];
  #events = 0;

  /** The number of the next event. */
  get events(): number {
    return this.#events;
  }

  change(change: DataChange): Running {
    return this.#begin(this.changes, change);
  }

  flush(): Running {
    return this.#begin(this.flushes, {});
  }

  /** Notes `text` between the requests before and after it. */
  mark(text: string): void {
    this.marks.push({ event: this.#events++, text });
  }

  /** Returns the event of the first mark with this text. Throws an Error when there is none. */
  eventOf(text: string): number {
    const mark = this.marks.find((one) => one.text === text);
    if (mark === undefined) throw new Error(`the recording has no mark "${text}"`);
    return mark.event;
  }

  #begin<Request extends object>(list: (Request & Span)[], request: Request): Running {
    const recorded = { ...request, begun: this.#events++, ended: Number.POSITIVE_INFINITY };
    list.push(recorded);
    return new Running(() => {
      recorded.ended = this.#events++;
    });
  }
}

export function lengthOf(change: DataChange): number {
  return change.kind === 'write' ? change.bytes.length : change.length;
}
