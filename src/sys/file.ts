// sys: a disk image (a regular file, a memfd or a block device): reads and writes at offsets, holes, size.
import { fstatSync, constants as open } from 'node:fs';
import { constants as os } from 'node:os';
import {
  BLKDISCARD,
  BLKGETSIZE64,
  BLKPBSZGET,
  BLKROGET,
  BLKSSZGET,
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFL,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  HUGETLBFS_MAGIC,
  O_CLOEXEC,
  O_NONBLOCK,
  SEEK_DATA,
  SEEK_HOLE,
  TMPFS_MAGIC,
} from './constants.ts';
import { alignedBytes, type DirectAlignment, directAlignment, turnOnDirectIo } from './direct-io.ts';
import { lockImage } from './file-lock.ts';
import { IOV_MAX, writeIovecs } from './iovec.ts';
import { check, closeFd, errno, libc, SystemError, systemError } from './libc.ts';
import { checkKind, openAdvice } from './open-advice.ts';
import { callScratch } from './scratch.ts';

const SECTOR_BYTES = 512;
/** A page: for a smaller write to a regular file the kernel first reads the rest of the page. */
const PAGE_BYTES = 4096;
const ZEROES_BYTES = 256 * 1024;

/** The file system of an image, as far as a store has to know it. */
export interface FileSystem {
  readonly kind: 'tmpfs' | 'hugetlbfs' | 'other';
  /** Its block size in bytes: on hugetlbfs the size of a huge page. */
  readonly blockBytes: number;
}

/** A byte range of a file: [start, end). */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

/** An open disk image. Offsets and lengths are bytes. All calls are synchronous. */
export class ImageFile implements Disposable {
  /** The path, or another name for messages. */
  readonly name: string;
  readonly readOnly: boolean;
  readonly isBlockDevice: boolean;
  /** The logical block size of a block device, in bytes; 512 for a file. */
  readonly blockBytes: number;
  /** The physical block size, in bytes: smaller writes cost more. */
  readonly physicalBlockBytes: number;
  #fd: number;
  #direct: DirectAlignment | undefined;

  private constructor(fd: number, name: string, readOnly: boolean) {
    this.#fd = fd;
    this.name = name;
    this.readOnly = readOnly;
    this.isBlockDevice = fstatSync(fd).isBlockDevice();
    this.blockBytes = this.isBlockDevice ? this.#ioctlInt(BLKSSZGET) : SECTOR_BYTES;
    this.physicalBlockBytes = this.isBlockDevice ? this.#ioctlInt(BLKPBSZGET) : PAGE_BYTES;
    this.#direct = directAlignment(fd);
  }

  /**
   * Opens an image and locks it against other writers. Throws SystemError that says what to do about `path`. It
   * accepts any size, see `checkSize`.
   * @param options `isLocked: false` takes no lock; `isShared` locks it only against those who do not share it.
   */
  static open(path: string, options: { readOnly?: boolean; isLocked?: boolean; isShared?: boolean } = {}): ImageFile {
    const { readOnly = false, isLocked = true, isShared = false } = options;
    // O_NONBLOCK: without it the open of a FIFO would wait for its other end. `checkKind` refuses a FIFO.
    const flags = (readOnly ? open.O_RDONLY : open.O_RDWR) | O_CLOEXEC | O_NONBLOCK;
    // SAFETY: the path is in this thread's scratch until the call returns.
    const fd = uninterrupted(() => libc.open(callScratch.cString(0, path), flags, 0));
    if (fd < 0) throw systemError('open', openAdvice(path));
    try {
      checkKind(fd, path);
      makeBlocking(fd);
      const file = new ImageFile(fd, path, readOnly);
      if (!readOnly && file.isBlockDevice && file.#ioctlInt(BLKROGET) !== 0)
        throw new SystemError('open', 'EROFS', `${path} is a read-only device: open it read-only`);
      if (isLocked) lockImage(fd, path, readOnly, isShared);
      return file;
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Takes over a descriptor of a regular file or block device. Takes no lock. */
  static adopt(fd: number, name: string, readOnly = false): ImageFile {
    return new ImageFile(fd, name, readOnly);
  }

  /**
   * Returns the same open file with a descriptor of its own, for another thread. The lock lasts until both are closed.
   */
  static duplicate(fd: number, name: string, readOnly: boolean): ImageFile {
    return new ImageFile(check(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl', name), name, readOnly);
  }

  /** The descriptor; -1 once it is closed, since another file may then have the same number. */
  get fd(): number {
    return this.#fd;
  }

  /** The alignment that its direct I/O takes; undefined if it goes through the page cache. */
  get direct(): DirectAlignment | undefined {
    return this.#direct;
  }

  /** From now on it bypasses the page cache, also for duplicates. Throws SystemError where that is not possible. */
  useDirectIo(): void {
    const { kind } = this.fileSystem();
    if (kind !== 'other')
      throw new SystemError(
        'fcntl',
        'EINVAL',
        `${this.name} is in memory (${kind}), where nothing is cached: leave out --direct`,
      );
    turnOnDirectIo(this.#fd, this.name);
    this.#direct = directAlignment(this.#fd);
    this.#checkMultiple(this.#blockBytes, 'the block size of its direct I/O');
  }

  get #blockBytes(): number {
    return this.#direct?.blocks ?? SECTOR_BYTES;
  }

  /** The current size in bytes, rounded down to whole sectors, or to whole blocks of direct I/O. */
  currentSize(): number {
    const sizeBytes = this.#exactSize();
    return sizeBytes - (sizeBytes % this.#blockBytes);
  }

  /** Throws SystemError, with advice, unless the size is a positive multiple of 512. */
  checkSize(): void {
    const sizeBytes = this.#exactSize();
    const refused = (why: string): SystemError => new SystemError('open', 'EINVAL', `${this.name} ${why}`);
    if (sizeBytes === 0 && this.isBlockDevice) throw refused('has no size: it is a device with nothing attached');
    if (sizeBytes === 0) throw refused(`is empty: "truncate -s 1G ${this.name}" makes it a disk of 1 GiB`);
    this.#checkMultiple(SECTOR_BYTES, '');
  }

  #checkMultiple(unit: number, what: string): void {
    const sizeBytes = this.#exactSize();
    if (sizeBytes % unit === 0) return;
    const why = `has ${sizeBytes} bytes, not a multiple of ${unit}${what && `, ${what}`}`;
    const advice = `"truncate -s %${unit} ${this.name}" rounds it up`;
    throw new SystemError('open', 'EINVAL', `${this.name} ${why}: ${advice}`);
  }

  /** The first and the last `length` bytes; where the file is shorter, both are the whole file. Throws SystemError. */
  ends(length: number): { head: Uint8Array; tail: Uint8Array } {
    const sizeBytes = this.#exactSize();
    const head = new Uint8Array(Math.min(length, sizeBytes));
    const tail = new Uint8Array(head.length);
    this.readInto(0, head);
    this.readInto(sizeBytes - tail.length, tail);
    return { head, tail };
  }

  /** The bytes that the file occupies: fewer than its size where it has holes. */
  allocatedBytes(): number {
    return fstatSync(this.#fd).blocks * SECTOR_BYTES;
  }

  /** statfs(2): struct statfs { long f_type; long f_bsize; … } */
  fileSystem(): FileSystem {
    // SAFETY: a struct statfs of 120 bytes in this thread's scratch.
    check(
      uninterrupted(() => libc.fstatfs(this.#fd, callScratch.address)),
      'fstatfs',
      this.name,
    );
    const type = this.isBlockDevice ? 0 : callScratch.view.getUint32(0, true);
    const kind = type === TMPFS_MAGIC ? 'tmpfs' : type === HUGETLBFS_MAGIC ? 'hugetlbfs' : 'other';
    return { kind, blockBytes: callScratch.view.getUint32(8, true) };
  }

  /** Fills `into` from `offset`. Throws SystemError. */
  readInto(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const rest = done === 0 ? into : into.subarray(done);
      // SAFETY: the argument does not move until the call returns; the kernel writes at most its length.
      done += moved('pread', libc.pread(this.#fd, rest, BigInt(rest.length), BigInt(offset + done)));
    }
  }

  /** Stores all of `from` at `offset`. Throws SystemError. */
  writeFrom(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const rest = done === 0 ? from : from.subarray(done);
      // SAFETY: as in readInto; the kernel only reads them.
      done += moved('pwrite', libc.pwrite(this.#fd, rest, BigInt(rest.length), BigInt(offset + done)));
    }
  }

  /** As `readInto`, for many pieces: one system call for up to 1024 of them. */
  readv(offset: number, into: readonly Uint8Array[]): void {
    this.#vectored('preadv', offset, into, (at, rest) => this.readInto(at, rest));
  }

  /** As `writeFrom`, for many pieces. */
  writev(offset: number, from: readonly Uint8Array[]): void {
    this.#vectored('pwritev', offset, from, (at, rest) => this.writeFrom(at, rest));
  }

  #vectored(
    syscall: 'preadv' | 'pwritev',
    offset: number,
    pieces: readonly Uint8Array[],
    finish: (offset: number, rest: Uint8Array) => void,
  ): void {
    let at = offset;
    for (let first = 0; first < pieces.length; first += IOV_MAX) {
      const batch = pieces.length <= IOV_MAX ? pieces : pieces.slice(first, first + IOV_MAX);
      writeIovecs(callScratch, batch);
      // SAFETY: `batch` keeps the pieces alive; the vector is in this thread's scratch until the call returns.
      let left = moved(syscall, libc[syscall](this.#fd, callScratch.address, batch.length, BigInt(at)));
      for (const piece of batch) {
        const done = Math.min(left, piece.length);
        if (done < piece.length) finish(at + done, piece.subarray(done));
        left -= done;
        at += piece.length;
      }
    }
  }

  /** Makes every completed write durable. fdatasync(2), repeated if a signal interrupts it. Throws SystemError. */
  sync(): void {
    check(
      uninterrupted(() => libc.fdatasync(this.#fd)),
      'fdatasync',
      this.name,
    );
  }

  /** Allocates [offset, offset + length); the content stays. Throws SystemError ENOSPC if there is no room. */
  allocate(offset: number, length: number): void {
    if (!this.#fallocate(FALLOC_FL_KEEP_SIZE, offset, length))
      throw new SystemError('fallocate', 'EOPNOTSUPP', `the file system of ${this.name} cannot reserve room`);
  }

  /**
   * Punches a hole at [offset, offset + length), which then reads as zeroes. Returns false where that is not supported.
   */
  punchHole(offset: number, length: number): boolean {
    return this.#fallocate(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length);
  }

  /** Makes [offset, offset + length) read as zeroes; `mayUnmap` allows a hole. Throws SystemError. */
  zeroRange(offset: number, length: number, mayUnmap: boolean): void {
    if (mayUnmap && this.punchHole(offset, length)) return;
    if (this.#fallocate(FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, offset, length)) return;
    const zeroes = alignedBytes(Math.min(length, ZEROES_BYTES), PAGE_BYTES);
    for (let at = offset, end = offset + length; at < end; at += zeroes.length)
      this.writeFrom(at, zeroes.subarray(0, Math.min(zeroes.length, end - at)));
  }

  /** Discards [offset, offset + length). Does nothing where that is not supported. Throws SystemError. */
  discard(offset: number, length: number): void {
    if (!this.isBlockDevice) {
      this.punchHole(offset, length);
      return;
    }
    const start = Math.ceil(offset / this.blockBytes) * this.blockBytes;
    const bytes = Math.floor((offset + length) / this.blockBytes) * this.blockBytes - start;
    if (bytes <= 0) return;
    callScratch.view.setBigUint64(0, BigInt(start), true);
    callScratch.view.setBigUint64(8, BigInt(bytes), true);
    // SAFETY: uint64_t range[2] in this thread's scratch, which the kernel only reads.
    const result = uninterrupted(() => libc.ioctl(this.#fd, BLKDISCARD, callScratch.address));
    if (result < 0 && errno() !== os.errno.EOPNOTSUPP) throw systemError('ioctl', `BLKDISCARD on ${this.name}`);
  }

  /**
   * The extents with data, in order; the rest reads as zeroes. One extent where the file system does not report holes.
   */
  *dataExtents(): Generator<Extent> {
    const sizeBytes = this.#exactSize();
    for (let end = 0; end < sizeBytes; ) {
      const start = Number(libc.lseek(this.#fd, BigInt(end), SEEK_DATA));
      if (start < 0) {
        if (errno() === os.errno.ENXIO) return; // only a hole is left
        yield { start: end, end: sizeBytes };
        return;
      }
      const hole = Number(libc.lseek(this.#fd, BigInt(start), SEEK_HOLE));
      end = hole < 0 ? sizeBytes : Math.min(hole, sizeBytes);
      yield { start, end };
    }
  }

  /** False where the file system or device cannot do it, or not at this alignment. Throws SystemError otherwise. */
  #fallocate(mode: number, offset: number, length: number): boolean {
    if (uninterrupted(() => libc.fallocate(this.#fd, mode, BigInt(offset), BigInt(length))) === 0) return true;
    const number = errno();
    if (number === os.errno.EOPNOTSUPP || number === os.errno.EINVAL) return false;
    throw systemError('fallocate', number === os.errno.ENOSPC ? `the file system of ${this.name} is full` : this.name);
  }

  #exactSize(): number {
    if (!this.isBlockDevice) return fstatSync(this.#fd).size;
    // SAFETY: BLKGETSIZE64 writes a uint64_t into this thread's scratch.
    check(libc.ioctl(this.#fd, BLKGETSIZE64, callScratch.address), 'ioctl', `BLKGETSIZE64 on ${this.name}`);
    return Number(callScratch.view.getBigUint64(0, true));
  }

  /** Returns the int that an ioctl writes. Throws SystemError. */
  #ioctlInt(request: bigint): number {
    // SAFETY: 4 bytes of this thread's scratch.
    check(libc.ioctl(this.#fd, request, callScratch.address), 'ioctl', this.name);
    return callScratch.view.getInt32(0, true);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeFd(this.#fd);
    this.#fd = -1;
  }
}

/** Makes a system call, and makes it again if a signal interrupts it. */
function uninterrupted(call: () => number): number {
  for (;;) {
    const result = call();
    if (result >= 0 || errno() !== os.errno.EINTR) return result;
  }
}

/** O_NONBLOCK is for the open only: a later call could otherwise fail with EAGAIN where it should block. */
function makeBlocking(fd: number): void {
  const flags = check(libc.fcntl(fd, F_GETFL, 0), 'fcntl');
  check(libc.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 'fcntl');
}

/** Returns the number of bytes a transfer moved, 0 if a signal interrupted it. */
function moved(syscall: string, result: number): number {
  if (result > 0) return result;
  if (result === 0) throw new SystemError(syscall, 'EIO', 'the file became shorter');
  if (errno() === os.errno.EINTR) return 0;
  throw systemError(syscall);
}
