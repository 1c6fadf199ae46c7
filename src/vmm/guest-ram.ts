// vmm: the guest's memory: one memfd, in one or two pieces, so that a back end in another process can map it as
// well.
import type { MemorySlots } from '../kvm/memory-slots.ts';
import { closeFd } from '../sys/libc.ts';
import { createMemfd } from '../sys/memfd.ts';
import type { SharedRegion } from '../transports/queue/queue-host.ts';
import { HIGH_MEMORY_START, LOW_MEMORY_END } from './address-map.ts';
import type { LowMemory } from './load-kernel.ts';

const PAGE_BYTES = 4096;

/** The guest address ranges of memory: from 0, and above 4 GiB for what does not fit below the devices. Pure. */
export function memoryPieces(sizeBytes: number): { readonly guestAddress: number; readonly sizeBytes: number }[] {
  const low = Math.min(sizeBytes, LOW_MEMORY_END);
  const pieces = [{ guestAddress: 0, sizeBytes: low }];
  if (sizeBytes > low) pieces.push({ guestAddress: HIGH_MEMORY_START, sizeBytes: sizeBytes - low });
  return pieces;
}

/** The memory of a VM, in a memfd. */
export class GuestRam implements Disposable {
  readonly sizeBytes: number;
  /** The piece from guest address 0 on, to which the boot writes. */
  readonly low: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly #fd: number;

  /** The same piece as a file, whose offsets are guest addresses. */
  get lowFile(): LowMemory {
    return { fd: this.#fd, sizeBytes: this.low.length };
  }

  /** Adds the memory to the slots of a VM, which then own the mappings. Throws SystemError. */
  constructor(slots: MemorySlots, sizeBytes: number) {
    this.sizeBytes = Math.floor(sizeBytes / PAGE_BYTES) * PAGE_BYTES;
    this.#fd = createMemfd('guest-memory', this.sizeBytes);
    try {
      let fileOffset = 0;
      const mapped = memoryPieces(this.sizeBytes).map((piece) => {
        const slot = slots.add({ ...piece, fd: this.#fd, fileOffset });
        fileOffset += piece.sizeBytes;
        return slot;
      });
      this.low = mapped[0]!.bytes;
      this.view = new DataView(this.low.buffer, this.low.byteOffset, this.low.length);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /** The regions that a queue host maps. This object keeps the descriptor. */
  regions(): SharedRegion[] {
    let fileOffset = 0;
    return memoryPieces(this.sizeBytes).map((piece, id) => {
      const region = { id, fd: this.#fd, fileOffset, blockBytes: PAGE_BYTES, ...piece };
      fileOffset += piece.sizeBytes;
      return region;
    });
  }

  /** Only after the VM was disposed. */
  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}
