// vmm: parses a bzImage, as distributions ship kernels, for the 64-bit boot protocol
// (Documentation/arch/x86/boot.rst).
import { KernelError } from './kernel-file.ts';

/** Offset of the setup header, in the file and in boot_params. */
export const SETUP_HEADER = 0x1f1;
/** More than any setup header has had so far: it ends at the length its jump instruction says, 0x202 + 0xff at most. */
export const SETUP_HEADER_END_MAX = 0x301;

/** struct setup_header, by offset in the file. */
const FIELD = {
  setupSectors: 0x1f1,
  bootFlag: 0x1fe,
  jumpLength: 0x201,
  magic: 0x202,
  version: 0x206,
  loadFlags: 0x211,
  initrdMax: 0x22c,
  xloadFlags: 0x236,
  commandLineMax: 0x238,
  prefAddress: 0x258,
  initSize: 0x260,
} as const;

const BOOT_FLAG = 0xaa55;
/** "HdrS" */
const MAGIC = 0x5372_6448;
/** 2.12, Linux 3.8: the first with xloadflags. */
const VERSION_MIN = 0x20c;
const LOADED_HIGH = 1;
const XLF_KERNEL_64 = 1;
const SECTOR_BYTES = 512;
/**
 * "If you cannot get this information from the protected-mode entry point… 64-bit entry = startup + 0x200" (boot.rst).
 */
const ENTRY_64 = 0x200;
const PREF_ADDRESS_MIN = 0x10_0000;

/** How to load the file. Everything is checked against the file's size. */
export interface BzImage {
  /** Bytes [SETUP_HEADER, …) of the file, for boot_params. */
  readonly setupHeader: Uint8Array<ArrayBuffer>;
  /** The kernel itself: `fileBytes` from `fileOffset` of the file, to be loaded at `loadAddress`. */
  readonly fileOffset: number;
  readonly fileBytes: number;
  readonly loadAddress: number;
  /** Memory from `loadAddress` on that the kernel uses while it unpacks itself. */
  readonly memoryBytes: number;
  readonly entry: number;
  /** The last address that an initrd may occupy. */
  readonly initrdMax: number;
  /** In bytes, without the zero at the end. */
  readonly commandLineMax: number;
}

/** Whether a file is a bzImage, by its two magic numbers. `head` is the first KiB of the file, or all of it. */
export function isBzImage(head: Uint8Array<ArrayBuffer>): boolean {
  const view = viewOf(head);
  return (
    head.length >= FIELD.magic + 4 &&
    view.getUint16(FIELD.bootFlag, true) === BOOT_FLAG &&
    view.getUint32(FIELD.magic, true) === MAGIC
  );
}

/** Reads the setup header of a file for which `isBzImage(head)` is true. Throws KernelError. */
export function parseBzImage(head: Uint8Array<ArrayBuffer>, fileSize: number, name: string): BzImage {
  const view = viewOf(head);
  if (head.length < FIELD.initSize + 4) throw new KernelError(`${name} ends in the middle of its header`);
  const version = view.getUint16(FIELD.version, true);
  if (version < VERSION_MIN) {
    const spoken = `${version >> 8}.${`${version & 0xff}`.padStart(2, '0')}`;
    throw new KernelError(`${name} speaks boot protocol ${spoken}: this needs 2.12 or newer, Linux 3.8`);
  }
  const end = FIELD.magic + view.getUint8(FIELD.jumpLength);
  if (end < FIELD.initSize + 4 || head.length < end)
    throw new KernelError(`${name} has a header that ends at ${end}: the file is damaged`);
  if ((view.getUint16(FIELD.xloadFlags, true) & XLF_KERNEL_64) === 0)
    throw new KernelError(`${name} is a 32-bit kernel: take one for x86-64`);
  if ((view.getUint8(FIELD.loadFlags) & LOADED_HIGH) === 0)
    throw new KernelError(`${name} is a zImage, made for the first 640 KiB: take a bzImage`);
  // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
  const fileOffset = ((view.getUint8(FIELD.setupSectors) || 4) + 1) * SECTOR_BYTES;
  const fileBytes = fileSize - fileOffset;
  const memoryBytes = view.getUint32(FIELD.initSize, true);
  if (fileBytes <= ENTRY_64) throw new KernelError(`${name} is cut off: it has a header, and no kernel behind it`);
  if (memoryBytes < fileBytes)
    throw new KernelError(`${name} says it needs ${memoryBytes} bytes, and has ${fileBytes}: the file is damaged`);
  const loadAddress = Number(view.getBigUint64(FIELD.prefAddress, true));
  if (loadAddress < PREF_ADDRESS_MIN || loadAddress > 0xffff_ffff)
    throw new KernelError(
      `${name} wants to stand at 0x${loadAddress.toString(16)}, where it cannot: the file is damaged`,
    );
  return {
    setupHeader: head.slice(SETUP_HEADER, end),
    fileOffset,
    fileBytes,
    loadAddress,
    memoryBytes,
    entry: loadAddress + ENTRY_64,
    initrdMax: view.getUint32(FIELD.initrdMax, true),
    commandLineMax: view.getUint32(FIELD.commandLineMax, true),
  };
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
