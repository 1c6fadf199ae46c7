// Cellar: mmap as one ArrayBuffer. Detached before munmap, so that a stale view throws instead of touching freed memory.
import { toArrayBuffer } from 'node:ffi';
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
import { libc, systemError } from './libc.ts';

const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export interface MappingOptions {
  /** Where in the file the mapping starts, in bytes; a multiple of the page size. 0 unless said. */
  offset?: number;
  /** Whether stores are allowed. True unless said. */
  writable?: boolean;
}

/** A range of memory owned by this object until it is disposed. mmap(2), munmap(2). */
export class Mapping implements Disposable {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it stands, for syscall arguments. Valid until disposed. */
  readonly address: bigint;

  private constructor(address: bigint, sizeBytes: number) {
    this.address = address;
    // SAFETY: the pages stay mapped until Symbol.dispose, which detaches this ArrayBuffer first.
    this.bytes = new Uint8Array(toArrayBuffer(address, sizeBytes, false));
  }

  /** Maps `sizeBytes` of a file, memfd or device, shared with everybody else who maps it. Throws SystemError. */
  static ofFile(fd: number, sizeBytes: number, options: MappingOptions = {}): Mapping {
    const protection = PROT_READ | (options.writable === false ? 0 : PROT_WRITE);
    return Mapping.#map(sizeBytes, protection, MAP_SHARED | MAP_NORESERVE, fd, options.offset ?? 0);
  }

  /** Maps zeroed private memory that the garbage collector never moves. Throws SystemError. */
  static anonymous(sizeBytes: number): Mapping {
    return Mapping.#map(sizeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }

  static #map(sizeBytes: number, protection: number, flags: number, fd: number, offset: number): Mapping {
    // SAFETY: addr 0 lets the kernel choose; the result is checked before it is used.
    const address = libc.mmap(0n, BigInt(sizeBytes), protection, flags, fd, BigInt(offset));
    if (address === MAP_FAILED) throw systemError('mmap', `${sizeBytes} bytes at offset ${offset} of fd ${fd}`);
    return new Mapping(address, sizeBytes);
  }

  /** Keeps the range out of core dumps and of forked children: guest memory is not ours to leak. */
  keepPrivate(): void {
    // SAFETY: the range is ours; both advices leave its content alone, and a refusal costs nothing.
    libc.madvise(this.address, BigInt(this.bytes.length), MADV_DONTDUMP);
    libc.madvise(this.address, BigInt(this.bytes.length), MADV_DONTFORK);
  }

  [Symbol.dispose](): void {
    const sizeBytes = this.bytes.length;
    if (sizeBytes === 0) return;
    this.bytes.buffer.transfer();
    // SAFETY: every view went dead with the line above.
    libc.munmap(this.address, BigInt(sizeBytes));
  }
}
