// Ground floor: the memory table of a session: which descriptors hold guest memory, and where the front end sees them.
import { fstatSync } from 'node:fs';
import { closeFd } from '../../../sys/libc.ts';
import { splitQueueBytes } from '../../../virtio/spec.ts';
import type { SharedRegion } from '../../queue/queue-host.ts';
import type { MemoryRegionMessage } from '../protocol/message.ts';
import { ProtocolError } from '../protocol/protocol-error.ts';
import { MEM_SLOTS_MAX } from '../protocol/spec.ts';

interface Region extends SharedRegion {
  readonly userAddress: number;
}

/** §2.7: alignment of descriptor table, available ring, used ring. */
const ALIGNMENT = { descriptorTable: 16, availableRing: 2, usedRing: 4 } as const;

export class GuestRegions {
  #regions: Region[] = [];

  get count(): number {
    return this.#regions.length;
  }

  get shared(): readonly SharedRegion[] {
    return this.#regions;
  }

  /** Adds a region and takes its descriptor over, if it is what it claims to be. Throws ProtocolError, and leaves the descriptor alone. */
  add(messageName: string, message: MemoryRegionMessage, fd: number): void {
    const { guestAddress, sizeBytes, userAddress, mmapOffset } = message;
    const status = fstatSync(fd);
    const end = mmapOffset + sizeBytes;
    if (!status.isFile())
      throw new ProtocolError(messageName, 'a descriptor that cannot hold memory (a memfd or a file is wanted)');
    if (sizeBytes === 0) throw new ProtocolError(messageName, 'a region of no bytes');
    if (end > status.size)
      throw new ProtocolError(messageName, `a region that ends at byte ${end} of a file of ${status.size}`);
    if (this.#regions.length >= MEM_SLOTS_MAX)
      throw new ProtocolError(messageName, `more than ${MEM_SLOTS_MAX} regions`);
    if (this.#regions.some((other) => overlaps(other.guestAddress, other.sizeBytes, guestAddress, sizeBytes))) {
      throw new ProtocolError(messageName, `two regions at guest address 0x${guestAddress.toString(16)}`);
    }
    // munmap of huge pages wants whole ones; st_blksize is their size there.
    const mapBytes = Math.ceil(end / status.blksize) * status.blksize;
    this.#regions.push({ fd, mapBytes, mmapOffset, guestAddress, sizeBytes, userAddress });
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
    this.#regions.splice(at, 1);
    closeFd(region.fd);
  }

  clear(): void {
    for (const { fd } of this.#regions) closeFd(fd);
    this.#regions = [];
  }

  /** Ring addresses of the front end as guest addresses. Throws ProtocolError when a part is unaligned or outside every region. */
  ringAddresses<T extends { readonly [part in keyof typeof ALIGNMENT]: number }>(size: number, addresses: T): T {
    const bytes = splitQueueBytes(size);
    const translated = (part: keyof typeof ALIGNMENT): number => {
      const address = addresses[part];
      const region = this.#regions.find(
        (r) => address >= r.userAddress && address + bytes[part] <= r.userAddress + r.sizeBytes,
      );
      const at = `0x${address.toString(16)}`;
      if (region === undefined)
        throw new ProtocolError('SET_VRING_ADDR', `${part} at ${at} is in no region of the memory table`);
      const offset = address - region.userAddress;
      if ((region.mmapOffset + offset) % ALIGNMENT[part] !== 0)
        throw new ProtocolError('SET_VRING_ADDR', `${part} at ${at} is not aligned to ${ALIGNMENT[part]}`);
      return region.guestAddress + offset;
    };
    return {
      ...addresses,
      descriptorTable: translated('descriptorTable'),
      availableRing: translated('availableRing'),
      usedRing: translated('usedRing'),
    };
  }
}

function overlaps(a: number, aBytes: number, b: number, bBytes: number): boolean {
  return a < b + bBytes && b < a + aBytes;
}
