// daemon: what a serving thread rehearses before the first front end: a disk like the one that will be served.
import type { ImageSource } from './device-source.ts';

/**
 * What a rehearsal has to know of the image that will be served. It uses another store of the same engine: V8 compiles for
 * what it has seen. Threads receive it.
 */
export interface RehearsalPlan extends Pick<ImageSource['store'], 'engine' | 'readOnly'>, Pick<ImageSource, 'options'> {
  readonly isLimited: boolean;
  /** Whether several threads will serve it. */
  readonly isShared: boolean;
  /** Front ends that come one after the other. */
  readonly sessions: number;
  /** Requests of each one. */
  readonly requests: number;
  /** Not 0: it is to end early. */
  readonly isOver?: Int32Array<SharedArrayBuffer>;
}

/** Whether it is to end early. */
export function isOver({ isOver }: RehearsalPlan): boolean {
  return isOver !== undefined && Atomics.load(isOver, 0) !== 0;
}
