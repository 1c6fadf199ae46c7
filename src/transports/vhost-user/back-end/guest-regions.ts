// vhost-user/back-end: the memory table of a session: the descriptors of guest memory, with their guest and user addresses.
import { fstatSync, type Stats } from 'node:fs';
import { sealShrink } from '../../../sys/memfd.ts';
import { closeReceived, nameOfKind, receivedKind } from '../../../sys/received-fd.ts';
import type { RingAreas, RingFormat } from '../../../virtio/ring-format.ts';
import type { SharedRegion } from '../../queue/queue-host.ts';
import type { MemoryRegionMessage } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { MEM_SLOTS_MAX } from '../protocol/spec.ts';

interface Region extends SharedRegion {
  readonly userAddress: number;
  /** The file cannot be made shorter: F_SEAL_SHRINK. */
  readonly isSealed: boolean;
}

/** Alignment of mappings, unless the file's own blocks are larger: a multiple of every page size. */
const BLOCK_BYTES = 64 * 1024;

/** Counts over all sessions of this process, so that an id is never reused. */
let lastId = 0;

/** The regions that a front end shares. Owns their descriptors. */
export class GuestRegions {
  #regions: Region[] = [];
  readonly #allowFiles: boolean;

  /** @param allowFiles accept a file of any file system, not only one in memory. */
  constructor(allowFiles: boolean) {
    this.#allowFiles = allowFiles;
  }

  get count(): number {
    return this.#regions.length;
  }

  get sizeBytes(): number {
    return this.#regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  get shared(): readonly SharedRegion[] {
    return this.#regions;
  }

  /** Whether no region can be truncated by another process: touching truncated memory raises SIGBUS. */
  get isSealed(): boolean {
    return this.#regions.every(({ isSealed }) => isSealed);
  }

  /**
   * Checks a region, adds it and takes ownership of its descriptor. Throws ProtocolError; the caller then keeps the
   * descriptor.
   */
  add(messageName: string, message: MemoryRegionMessage, fd: number): void {
    const { guestAddress, sizeBytes, userAddress, mmapOffset } = message;
    const status = memoryStatus(messageName, fd, this.#allowFiles);
    const end = mmapOffset + sizeBytes;
    if (sizeBytes === 0) throw new ProtocolError(messageName, 'a region of no bytes');
    if (!Number.isSafeInteger(guestAddress + sizeBytes) || !Number.isSafeInteger(userAddress + sizeBytes))
      throw new ProtocolError(
        messageName,
        `a region that ends beyond 2^53, at guest address 0x${guestAddress.toString(16)}`,
      );
    if (end > status.size)
      throw new ProtocolError(messageName, `a region that ends at byte ${end} of a file of ${status.size}`);
    if (this.#regions.length >= MEM_SLOTS_MAX)
      throw new ProtocolError(messageName, `more than ${MEM_SLOTS_MAX} regions`);
    if (this.#regions.some((other) => overlaps(other.guestAddress, other.sizeBytes, guestAddress, sizeBytes))) {
      throw new ProtocolError(messageName, `two regions at guest address 0x${guestAddress.toString(16)}`);
    }
    // munmap of huge pages takes whole ones only; st_blksize is their size there.
    const blockBytes = Math.max(BLOCK_BYTES, status.blksize);
    const shared = { id: ++lastId, fd, fileOffset: mmapOffset, blockBytes, guestAddress, sizeBytes };
    this.#regions.push({ ...shared, userAddress, isSealed: sealShrink(fd) });
  }

  /** Removes a region and closes its descriptor. Throws ProtocolError when there is no such region. */
  remove(messageName: string, { guestAddress, sizeBytes, userAddress }: MemoryRegionMessage): void {
    const at = this.#regions.findIndex(
      (r) => r.guestAddress === guestAddress && r.sizeBytes === sizeBytes && r.userAddress === userAddress,
    );
    const region = this.#regions[at];
    if (region === undefined)
      throw new ProtocolError(
        messageName,
        `there is no region at guest address 0x${guestAddress.toString(16)} of ${sizeBytes} bytes`,
      );
    this.#regions = this.#regions.toSpliced(at, 1);
    closeReceived(region.fd);
  }

  clear(): void {
    for (const { fd } of this.#regions) closeReceived(fd);
    this.#regions = [];
  }

  /**
   * Translates the areas of a ring from user to guest addresses. Throws ProtocolError for one that is unaligned or in
   * no region.
   */
  ringAreas(format: RingFormat, size: number, user: RingAreas): RingAreas {
    const bytes = format.bytes(size);
    const translated = (area: keyof RingAreas): number => {
      const address = user[area];
      const region = this.#regions.find(
        (r) => address >= r.userAddress && address + bytes[area] <= r.userAddress + r.sizeBytes,
      );
      const at = `0x${address.toString(16)}`;
      if (region === undefined)
        throw new ProtocolError('SET_VRING_ADDR', `${area} at ${at} is in no region of the memory table`);
      const offset = address - region.userAddress;
      if ((region.fileOffset + offset) % format.alignment[area] !== 0)
        throw new ProtocolError('SET_VRING_ADDR', `${area} at ${at} is not aligned to ${format.alignment[area]}`);
      return region.guestAddress + offset;
    };
    return {
      descriptorArea: translated('descriptorArea'),
      driverArea: translated('driverArea'),
      deviceArea: translated('deviceArea'),
    };
  }
}

/**
 * The status of a file of shared memory. Checks its kind before fstat: a FUSE server may never answer. Throws
 * ProtocolError.
 * @param allowFiles accept a file of any file system, not only one in memory.
 */
export function memoryStatus(messageName: string, fd: number, allowFiles: boolean): Stats {
  const kind = receivedKind(fd);
  if (kind !== 'memory' && !(kind === 'other' && allowFiles))
    throw new ProtocolError(
      messageName,
      `the descriptor is ${nameOfKind(kind)}: a memfd or a file in memory is wanted`,
    );
  const status = fstatSync(fd);
  if (!status.isFile()) throw new ProtocolError(messageName, 'the descriptor is no file: a memfd is wanted');
  return status;
}

function overlaps(a: number, aBytes: number, b: number, bBytes: number): boolean {
  return a < b + bBytes && b < a + aBytes;
}
