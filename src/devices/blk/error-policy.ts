// virtio-blk: what becomes of a request that the store failed. QEMU calls these policies rerror and werror.
import { codeOf } from '../../virtio/log.ts';
import * as blk from './spec.ts';

/** The policies for reads. */
export const READ_ERROR_POLICIES = ['report', 'stop', 'ignore'] as const;
/** The policies for everything else: writes, discards, writes of zeroes, flushes. */
export const WRITE_ERROR_POLICIES = [...READ_ERROR_POLICIES, 'enospc'] as const;

export type ReadErrorPolicy = (typeof READ_ERROR_POLICIES)[number];
export type WriteErrorPolicy = (typeof WRITE_ERROR_POLICIES)[number];

/**
 * What becomes of a request that the store failed.
 * - `report`: it fails with VIRTIO_BLK_S_IOERR.
 * - `stop`: it is held and tried again: each second if the error is ENOSPC, else when `retryHeld` is called
 *   (`belfry serve` does so on SIGCONT).
 * - `enospc`: `stop` for ENOSPC, `report` for any other error.
 * - `ignore`: the driver is told that it succeeded. It loses data.
 *
 * A flush that failed is never held, since a second one could succeed without the data that is lost.
 */
export interface ErrorPolicy {
  /** Default `report`. */
  readonly read?: ReadErrorPolicy;
  /** Default `enospc`, as in QEMU. */
  readonly write?: WriteErrorPolicy;
}

/** Throws RangeError for an unknown policy. */
export function checkErrorPolicy({ read, write }: ErrorPolicy): void {
  check('read', read, READ_ERROR_POLICIES);
  check('write', write, WRITE_ERROR_POLICIES);
}

function check(of: keyof ErrorPolicy, value: string | undefined, known: readonly string[]): void {
  if (value !== undefined && !known.includes(value))
    throw new RangeError(`onError.${of} is ${value}; one of ${known.join(', ')} is wanted`);
}

/** Returns what to do with a request of this type that failed with `error`. */
export function actionFor(
  { read = 'report', write = 'enospc' }: ErrorPolicy,
  type: number,
  error: unknown,
): 'report' | 'hold' | 'ignore' {
  const policy = type === blk.VIRTIO_BLK_T_IN ? read : write;
  if (policy === 'report' || policy === 'ignore') return policy;
  const mayHold = type !== blk.VIRTIO_BLK_T_FLUSH && (policy === 'stop' || isFull(error));
  return mayHold ? 'hold' : 'report';
}

/** Whether a request failed because there is no room for its data. */
export function isFull(error: unknown): boolean {
  return codeOf(error).code === 'ENOSPC';
}
