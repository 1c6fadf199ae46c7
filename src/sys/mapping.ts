// sys: mmap(2) as one ArrayBuffer. It is detached before munmap(2), so a stale view cannot touch unmapped memory.
import { toArrayBuffer } from 'node:ffi';
import { constants as os } from 'node:os';
import {
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MAP_ANONYMOUS,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from './constants.ts';
import { errno, libc, systemError } from './libc.ts';

const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** The requested part of the mapped bytes. */
interface Part {
  readonly start: number;
  readonly sizeBytes: number;
}

export interface MappingOptions {
  /** Offset in the file, in bytes; a multiple of the page size. Default 0. */
  offset?: number;
  /** Whether stores are allowed. Default true. */
  writable?: boolean;
}

/** A range of memory that this object owns until it is disposed. mmap(2), munmap(2). */
export class Mapping implements Disposable {
  /** The requested bytes. With `ofFileRange` they may begin anywhere in their `buffer`. Empty once disposed. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #address: bigint;
  readonly #buffer: ArrayBuffer;

  private constructor(address: bigint, mappedBytes: number, { start, sizeBytes }: Part) {
    this.#address = address;
    // SAFETY: the pages stay mapped until Symbol.dispose, which detaches this ArrayBuffer first.
    this.#buffer = toArrayBuffer(address, mappedBytes, false);
    this.bytes = new Uint8Array(this.#buffer, start, sizeBytes);
  }

  /** Maps `sizeBytes` of a file, memfd or device, shared with all other mappings of it. Throws SystemError. */
  static ofFile(fd: number, sizeBytes: number, options: MappingOptions = {}): Mapping {
    const protection = PROT_READ | (options.writable === false ? 0 : PROT_WRITE);
    return Mapping.#map(fd, options.offset ?? 0, sizeBytes, protection, MAP_SHARED | MAP_NORESERVE);
  }

  /**
   * As `ofFile`, for a range that need not be aligned: maps the blocks around it. `blockBytes` is the size of a
   * page, on hugetlbfs that of a huge page: st_blksize of fstat(2). Throws SystemError, EINVAL for another
   * `blockBytes`.
   */
  static ofFileRange(fd: number, offset: number, sizeBytes: number, blockBytes: number): Mapping {
    const start = offset % blockBytes;
    const mappedBytes = Math.ceil((start + sizeBytes) / blockBytes) * blockBytes;
    const [protection, flags] = [PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE];
    return Mapping.#map(fd, offset - start, mappedBytes, protection, flags, { start, sizeBytes });
  }

  /** Maps zeroed private memory that the garbage collector never moves. Throws SystemError. */
  static anonymous(sizeBytes: number): Mapping {
    return Mapping.#map(-1, 0, sizeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  }

  static #map(
    fd: number,
    offset: number,
    mappedBytes: number,
    protection: number,
    flags: number,
    part: Part = { start: 0, sizeBytes: mappedBytes },
  ): Mapping {
    // SAFETY: addr 0 lets the kernel choose; the result is checked before it is used.
    const address = libc.mmap(0n, BigInt(mappedBytes), protection, flags, fd, BigInt(offset));
    if (address === MAP_FAILED) throw systemError('mmap', mapAdvice(mappedBytes, offset));
    try {
      return new Mapping(address, mappedBytes, part);
    } catch (error) {
      // SAFETY: the range was mapped above, and no view of it exists.
      libc.munmap(address, BigInt(mappedBytes));
      throw error;
    }
  }

  /** The address of `bytes`, for syscall arguments. Valid until disposed. */
  get address(): bigint {
    return this.#address + BigInt(this.bytes.byteOffset);
  }

  /** Keeps the range out of core dumps and of forked children, since guest memory may hold secrets. madvise(2). */
  keepPrivate(): void {
    const mappedBytes = BigInt(this.#buffer.byteLength);
    // SAFETY: the range is mapped; both advices keep its content, and an error may be ignored.
    libc.madvise(this.#address, mappedBytes, MADV_DONTDUMP);
    libc.madvise(this.#address, mappedBytes, MADV_DONTFORK);
  }

  [Symbol.dispose](): void {
    const mappedBytes = this.#buffer.byteLength;
    if (mappedBytes === 0) return;
    this.#buffer.transfer();
    // SAFETY: the line above detached every view.
    libc.munmap(this.#address, BigInt(mappedBytes));
  }
}

function mapAdvice(mappedBytes: number, offset: number): string {
  const range = `${mappedBytes} bytes at offset ${offset}`;
  switch (errno()) {
    case os.errno.ENOMEM:
      return `no room for ${range}: ask for less, or raise ulimit -v or vm.max_map_count`;
    case os.errno.EACCES:
    case os.errno.EPERM:
      return `${range}: the file has to be open for reading and writing, and not sealed against writing`;
    case os.errno.ENODEV:
      return `${range}: this kind of file cannot be mapped: use a memfd or a file in memory`;
    default:
      return `${range}: the file cannot be mapped there`;
  }
}
