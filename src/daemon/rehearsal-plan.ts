// daemon: what a serving thread rehearses before the first front end: a disk like the one that will be served.
import type { DeviceSource, ImageSource } from './device-source.ts';

/** What a rehearsal has to know of the disk that will be served. It is posted to threads. */
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

/**
 * The plan for a device; undefined if it is not rehearsed. An image is, by another store of the same engine: V8 compiles
 * for what it has seen. A module of the user's may do anything when it is opened.
 */
export function rehearsalOf(
  source: DeviceSource,
  threads: number,
  { sessions, requests }: Pick<RehearsalPlan, 'sessions' | 'requests'>,
): RehearsalPlan | undefined {
  if (source.kind !== 'blk') return undefined;
  const { store, options, limits } = source;
  const { engine, readOnly } = store;
  const isLimited = limits !== undefined;
  return { engine, readOnly, options, isLimited, isShared: threads > 1, sessions, requests };
}

/** Whether it is to end early. */
export function isOver({ isOver }: RehearsalPlan): boolean {
  return isOver !== undefined && Atomics.load(isOver, 0) !== 0;
}
