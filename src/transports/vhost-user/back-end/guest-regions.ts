// Ground floor: the memory table of a session: which descriptors hold guest memory, and where the front end sees them.
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
  /** Nobody can make the file shorter. */
  readonly isSealed: boolean;
}

/** A multiple of every size of a page: what a mapping begins and ends at, where the file's own blocks are not larger. */
const BLOCK_BYTES = 64 * 1024;

/** Over all sessions of this process: the regions of one are never taken for those of another. */
let lastId = 0;

export class GuestRegions {
  #regions: Region[] = [];
  readonly #allowFiles: boolean;

  /** @param allowFiles a region may be a file of any file system, not of memory alone. */
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

  /** Whether no region can be truncated by somebody else: touching such memory is SIGBUS. */
  get isSealed(): boolean {
    return this.#regions.every(({ isSealed }) => isSealed);
  }

  /** Adds a region and takes its descriptor over, if it is what it claims to be. Throws ProtocolError, and leaves the descriptor alone. */
  add(messageName: string, message: MemoryRegionMessage, fd: number): void {
    const { guestAddress, sizeBytes, userAddress, mmapOffset } = message;
    const status = this.#statusOf(messageName, fd);
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
    // munmap of huge pages wants whole ones; st_blksize is their size there.
    const blockBytes = Math.max(BLOCK_BYTES, status.blksize);
    const shared = { id: ++lastId, fd, fileOffset: mmapOffset, blockBytes, guestAddress, sizeBytes };
    this.#regions.push({ ...shared, userAddress, isSealed: sealShrink(fd) });
  }

  /** A file system is asked for nothing before it is known that it is the kernel's own: FUSE may never answer. */
  #statusOf(messageName: string, fd: number): Stats {
    const kind = receivedKind(fd);
    if (kind !== 'memory' && !(kind === 'other' && this.#allowFiles))
      throw new ProtocolError(
        messageName,
        `the descriptor is ${nameOfKind(kind)}: a memfd or a file in memory is wanted`,
      );
    const status = fstatSync(fd);
    if (!status.isFile()) throw new ProtocolError(messageName, 'the descriptor is no file: a memfd is wanted');
    return status;
  }

  /** Takes a region out and closes its descriptor. Throws ProtocolError when there is none like it. */
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

  /** The areas of a ring by guest address. Throws ProtocolError where one is unaligned or outside every region. */
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

function overlaps(a: number, aBytes: number, b: number, bBytes: number): boolean {
  return a < b + bBytes && b < a + aBytes;
}
