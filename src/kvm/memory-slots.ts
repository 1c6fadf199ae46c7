// kvm: guest memory: ranges of a memfd at guest addresses, which other processes can map too.
import { SystemError } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import { Scratch } from '../sys/scratch.ts';
import {
  KVM_DIRTY_LOG,
  KVM_MEM_LOG_DIRTY_PAGES,
  KVM_MEM_READONLY,
  KVM_USERSPACE_MEMORY_REGION as REGION,
} from './constants.ts';
import { ioctlWithStruct, zeroedStruct } from './ioctl.ts';

const PAGE_BYTES = 4096;

/** A range of guest memory, and its file. */
export interface SlotOptions {
  /** The guest address; like size and offset a multiple of the page size. */
  readonly guestAddress: number;
  /** The size. */
  readonly sizeBytes: number;
  /** A memfd or file. The caller keeps the descriptor. */
  readonly fd: number;
  /** Where in the file it begins, in bytes. Default: 0. */
  readonly fileOffset?: number;
  /** Writes of the guest become MMIO exits. Default: false. */
  readonly readOnly?: boolean;
  /** Log which pages the guest writes to. Default: false. */
  readonly logDirty?: boolean;
}

/** The slots of one VM. KVM_SET_USER_MEMORY_REGION (api.rst 4.35). */
export class MemorySlots implements Disposable {
  readonly #vmFd: number;
  readonly #slots: (MemorySlot | undefined)[] = [];

  constructor(vmFd: number) {
    this.#vmFd = vmFd;
  }

  /**
   * Maps a range of a file and adds it to the guest's memory. Throws SystemError; EEXIST names the overlapping slot.
   */
  add(options: SlotOptions): MemorySlot {
    const free = this.#slots.indexOf(undefined);
    const index = free < 0 ? this.#slots.length : free;
    const slot = new MemorySlot(this.#vmFd, index, options, () => {
      this.#slots[index] = undefined;
    });
    try {
      slot.install();
    } catch (error) {
      slot[Symbol.dispose]();
      throw (error as SystemError).code === 'EEXIST' ? this.#overlap(options) : error;
    }
    this.#slots[index] = slot;
    return slot;
  }

  /** All slots, for instance to share them with a vhost-user back end. */
  get all(): readonly MemorySlot[] {
    return this.#slots.filter((slot) => slot !== undefined);
  }

  #overlap(options: SlotOptions): SystemError {
    const end = options.guestAddress + options.sizeBytes;
    const other = this.all.find((slot) => slot.guestAddress < end && options.guestAddress < slot.end);
    const inTheWay = other === undefined ? 'another slot of this VM' : `slot ${other.index}, ${rangeOf(other)}`;
    const advice = `guest memory ${rangeOf(options)} overlaps ${inTheWay}: move one, or remove the other first`;
    return new SystemError('KVM_SET_USER_MEMORY_REGION', 'EEXIST', advice);
  }

  [Symbol.dispose](): void {
    for (const slot of this.all) slot[Symbol.dispose]();
  }
}

/** One range. Owns its mapping: disposing removes the range from the guest, then unmaps it. */
export class MemorySlot implements Disposable {
  /** The slot's number in KVM. */
  readonly index: number;
  /** The guest address. */
  readonly guestAddress: number;
  /** The size. */
  readonly sizeBytes: number;
  /** The file, which the caller owns. */
  readonly fd: number;
  /** Where in the file it begins, in bytes. */
  readonly fileOffset: number;
  readonly #vmFd: number;
  readonly #mapping: Mapping;
  readonly #readOnly: boolean;
  readonly #onGone: () => void;
  #logDirty: boolean;
  #dirty: Scratch | undefined;
  #installed = false;

  constructor(vmFd: number, index: number, options: SlotOptions, onGone: () => void) {
    this.index = index;
    this.guestAddress = options.guestAddress;
    this.sizeBytes = options.sizeBytes;
    this.fd = options.fd;
    this.fileOffset = options.fileOffset ?? 0;
    this.#vmFd = vmFd;
    this.#readOnly = options.readOnly ?? false;
    this.#logDirty = options.logDirty ?? false;
    this.#onGone = onGone;
    this.#mapping = Mapping.ofFile(this.fd, this.sizeBytes, { offset: this.fileOffset });
    this.#mapping.keepPrivate();
  }

  /** The memory. Empty once the slot is disposed. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#mapping.bytes;
  }

  /** The first guest address after it. */
  get end(): number {
    return this.guestAddress + this.sizeBytes;
  }

  /** Adds it to the guest's memory. Called by MemorySlots. */
  install(): void {
    this.#set(this.sizeBytes);
    this.#installed = true;
  }

  /** Starts or stops logging which pages the guest writes to. */
  logDirty(on: boolean): void {
    this.#logDirty = on;
    this.#set(this.sizeBytes);
  }

  /**
   * Returns which pages the guest wrote to since the last call: bit n is page n. The next call overwrites the bytes.
   * Throws SystemError ENOENT if logging is off. KVM_GET_DIRTY_LOG (api.rst 4.8).
   */
  dirtyPages(): Uint8Array {
    const bitmapBytes = Math.ceil(this.sizeBytes / PAGE_BYTES / 64) * 8;
    this.#dirty ??= new Scratch(bitmapBytes);
    const log = zeroedStruct(KVM_DIRTY_LOG.sizeBytes);
    log.setUint32(KVM_DIRTY_LOG.slot, this.index, true);
    log.setBigUint64(KVM_DIRTY_LOG.bitmapAddress, this.#dirty.address, true);
    ioctlWithStruct(this.#vmFd, 'KVM_GET_DIRTY_LOG', `slot ${this.index} records nothing: ask for logDirty first`);
    return this.#dirty.bytes.subarray(0, bitmapBytes);
  }

  #set(sizeBytes: number): void {
    const region = zeroedStruct(REGION.sizeBytes);
    const flags = (this.#logDirty ? KVM_MEM_LOG_DIRTY_PAGES : 0) | (this.#readOnly ? KVM_MEM_READONLY : 0);
    region.setUint32(REGION.slot, this.index, true);
    region.setUint32(REGION.flags, flags, true);
    region.setBigUint64(REGION.guestAddress, BigInt(this.guestAddress), true);
    region.setBigUint64(REGION.memorySize, BigInt(sizeBytes), true);
    region.setBigUint64(REGION.userspaceAddress, this.#mapping.address, true);
    const advice = `guest memory ${rangeOf(this)}: address, size and offset must be multiples of ${PAGE_BYTES}`;
    ioctlWithStruct(this.#vmFd, 'KVM_SET_USER_MEMORY_REGION', advice);
  }

  [Symbol.dispose](): void {
    if (this.#mapping.bytes.length === 0) return;
    // "Deleting a slot is done by passing zero for memory_size." Before munmap, after which the addresses may be
    // reused.
    if (this.#installed) this.#set(0);
    this.#onGone();
    this.#mapping[Symbol.dispose]();
    this.#dirty?.[Symbol.dispose]();
  }
}

function rangeOf({ guestAddress, sizeBytes }: { guestAddress: number; sizeBytes: number }): string {
  return `0x${guestAddress.toString(16)}..0x${(guestAddress + sizeBytes).toString(16)}`;
}
