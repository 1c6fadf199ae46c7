// sys: direct I/O, past the page cache: O_DIRECT of open(2), the alignment that it takes, and memory that has it.
import { constants as open } from 'node:fs';
import { constants as os } from 'node:os';
import { addressOf } from './address.ts';
import { AT_EMPTY_PATH, F_GETFL, F_SETFL, STATX_DIOALIGN } from './constants.ts';
import { check, errno, libc, SystemError, systemError } from './libc.ts';
import { callScratch } from './scratch.ts';

/** What direct I/O takes, in bytes; both are powers of two. */
export interface DirectAlignment {
  /** Addresses and lengths of data in memory are multiples of this. */
  readonly memory: number;
  /** Offsets in the file, and lengths, are multiples of this; at least 512. */
  readonly blocks: number;
}

/** Of struct statx: 256 bytes. stx_dio_mem_align and stx_dio_offset_align have been there since Linux 6.1. */
const STATX = { mask: 0, memoryAlign: 152, offsetAlign: 156 } as const;
const SECTOR_BYTES = 512;
/** Every file system with direct I/O takes whole pages. */
const PAGE_BYTES = 4096;

/**
 * Turns the page cache off for an open file and all descriptors of it. Throws SystemError where its file system has no
 * direct I/O.
 */
export function turnOnDirectIo(fd: number, name: string): void {
  const flags = check(libc.fcntl(fd, F_GETFL, 0), 'fcntl', name);
  if (libc.fcntl(fd, F_SETFL, flags | open.O_DIRECT) === 0) return;
  if (errno() !== os.errno.EINVAL) throw systemError('fcntl', name);
  throw new SystemError('fcntl', 'EINVAL', `${name} is on a file system without direct I/O: leave out --direct`);
}

/** The alignment that direct I/O of this open file takes; undefined if it goes through the page cache. */
export function directAlignment(fd: number): DirectAlignment | undefined {
  if ((check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') & open.O_DIRECT) === 0) return undefined;
  return reportedAlignment(fd) ?? triedAlignment(fd);
}

/** What statx(2) reports; undefined where the kernel or the file system does not know. */
function reportedAlignment(fd: number): DirectAlignment | undefined {
  const { view, address } = callScratch;
  const empty = callScratch.cString(1024, '');
  // SAFETY: a struct statx of 256 bytes and an empty path in this thread's scratch.
  if (libc.statx(fd, empty, AT_EMPTY_PATH, STATX_DIOALIGN, address) < 0) return undefined;
  if ((view.getUint32(STATX.mask, true) & STATX_DIOALIGN) === 0) return undefined;
  const memory = view.getUint32(STATX.memoryAlign, true);
  const blocks = view.getUint32(STATX.offsetAlign, true);
  return memory === 0 || blocks === 0 ? undefined : { memory, blocks: Math.max(blocks, SECTOR_BYTES) };
}

/** Tries the smallest blocks. A guest's partition table is in units of them, so that 4096 is not safe for everybody. */
function triedAlignment(fd: number): DirectAlignment {
  const bytes = alignedBytes(SECTOR_BYTES, SECTOR_BYTES);
  // SAFETY: the kernel writes at most the length of `bytes`, whose memory does not move.
  const isTaken = libc.pread(fd, bytes, BigInt(bytes.length), 0n) >= 0;
  const blocks = isTaken ? SECTOR_BYTES : PAGE_BYTES;
  return { memory: blocks, blocks };
}

/** Returns `length` bytes, all zero, at an address that is a multiple of `alignment`. */
export function alignedBytes(length: number, alignment: number): Uint8Array<ArrayBuffer> {
  const buffer = new ArrayBuffer(length + alignment);
  const skip = alignment - (addressOf(new Uint8Array(buffer)) % alignment);
  return new Uint8Array(buffer, skip, length);
}

/** Whether the bytes are at an address, and of a length, that are multiples of `alignment`, a power of two. */
export function isAligned(bytes: Uint8Array, alignment: number): boolean {
  // A remainder of numbers beyond 2^31 is a call into C; this quotient is exact.
  return (bytes.length & (alignment - 1)) === 0 && Number.isInteger(addressOf(bytes) / alignment);
}
