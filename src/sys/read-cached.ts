// sys: a read that never waits for a disk: preadv2(2) with RWF_NOWAIT.
import { DynamicLibrary } from 'node:ffi';
import { constants as os } from 'node:os';
import { RWF_NOWAIT } from './constants.ts';
import { IOV_MAX, writeIovecs } from './iovec.ts';
import { errno } from './libc.ts';
import { callScratch } from './scratch.ts';

// SAFETY: preadv2(2) of the running process. A C library that is older than the call does not have it.
const preadv2 = symbol();

function symbol(): ((fd: number, vector: bigint, count: number, offset: bigint, flags: number) => number) | undefined {
  try {
    return new DynamicLibrary(null).getFunction('preadv2', {
      return: 'int32',
      arguments: ['int32', 'pointer', 'int32', 'int64', 'int32'],
    });
  } catch {
    return undefined;
  }
}

/**
 * Fills `into` from `offset` if all of it is in the page cache: `read`. Otherwise `into` holds anything: `waits`, or
 * `unsupported` where the file system cannot tell.
 */
export function readCached(fd: number, offset: number, into: readonly Uint8Array[]): 'read' | 'waits' | 'unsupported' {
  if (preadv2 === undefined) return 'unsupported';
  if (into.length > IOV_MAX) return 'waits';
  let length = 0;
  for (const piece of into) length += piece.length;
  writeIovecs(callScratch, into);
  // SAFETY: the vector is in this thread's scratch, and `into` keeps its bytes alive until the call returns.
  const result = preadv2(fd, callScratch.address, into.length, BigInt(offset), RWF_NOWAIT);
  if (result === length) return 'read';
  return result < 0 && errno() === os.errno.EOPNOTSUPP ? 'unsupported' : 'waits';
}
