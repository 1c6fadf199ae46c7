// vmm: loads a kernel and its initrd into guest memory, or throws why it cannot.
import { ACPI_TABLES, COMMAND_LINE_MAX, LEGACY_AREA, LOW_MEMORY_END } from './address-map.ts';
import { type BzImage, isBzImage, parseBzImage } from './bzimage.ts';
import { ELF_HEAD_BYTES, type ElfSegment, isElf, parseElfKernel } from './elf-kernel.ts';
import { KernelError, KernelFile } from './kernel-file.ts';

const PAGE_BYTES = 4096;
/** For a vmlinux, which has no setup header: boot.rst's default for initrd_addr_max, and Linux's COMMAND_LINE_SIZE. */
const INITRD_MAX = 0x7fff_ffff;
const COMMAND_LINE_DEFAULT_MAX = 2047;

/** What the boot needs to know of a loaded kernel. */
export interface LoadedKernel {
  readonly entry: number;
  /** For boot_params; a vmlinux has none. */
  readonly setupHeader: Uint8Array<ArrayBuffer> | undefined;
  readonly initrd: { readonly address: number; readonly sizeBytes: number } | undefined;
  /** In bytes, without the zero at the end. */
  readonly commandLineMax: number;
}

interface Plan {
  readonly segments: readonly ElfSegment[];
  readonly entry: number;
  /** The first address after the kernel. */
  readonly end: number;
  readonly initrdMax: number;
  readonly commandLineMax: number;
  readonly setupHeader?: Uint8Array<ArrayBuffer>;
}

/** Guest memory from 0 on, as a file: offsets are guest addresses. */
export interface LowMemory {
  readonly fd: number;
  readonly sizeBytes: number;
}

/** The open files of a kernel and its initrd, and where they go in memory. */
interface OpenKernel extends Disposable {
  readonly file: KernelFile;
  readonly initrdFile: KernelFile | undefined;
  readonly plan: Plan;
  readonly loaded: LoadedKernel;
}

/** Loads a kernel and, if given, an initrd. Throws KernelError, or SystemError where a file cannot be read. */
export function loadKernel({ fd, sizeBytes }: LowMemory, kernel: string, initrd: string | undefined): LoadedKernel {
  using open = openKernel(sizeBytes, kernel, initrd);
  const { file, initrdFile, plan, loaded } = open;
  for (const { fileOffset, fileBytes, loadAddress } of plan.segments)
    file.copyInto(fd, loadAddress, fileOffset, fileBytes);
  if (loaded.initrd !== undefined) initrdFile?.copyInto(fd, loaded.initrd.address, 0, loaded.initrd.sizeBytes);
  return loaded;
}

/** Returns and throws what `loadKernel` does for so much low memory, and loads nothing. */
export function checkKernel(lowBytes: number, kernel: string, initrd: string | undefined): LoadedKernel {
  using open = openKernel(lowBytes, kernel, initrd);
  return open.loaded;
}

function openKernel(lowBytes: number, kernel: string, initrd: string | undefined): OpenKernel {
  using files = new DisposableStack();
  const file = files.use(new KernelFile(kernel, 'kernel'));
  const initrdFile = initrd === undefined ? undefined : files.use(new KernelFile(initrd, 'initrd'));
  const plan = planFor(file);
  checkSegments(plan, kernel, lowBytes, initrdFile?.sizeBytes ?? 0);
  const placed = initrdFile && placeInitrd(plan, initrdFile, lowBytes);
  const { entry, setupHeader } = plan;
  const commandLineMax = Math.min(plan.commandLineMax, COMMAND_LINE_MAX - 1);
  const owned = files.move();
  return {
    file,
    initrdFile,
    plan,
    loaded: { entry, setupHeader, initrd: placed, commandLineMax },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function planFor(file: KernelFile): Plan {
  const head = file.head(ELF_HEAD_BYTES);
  if (isBzImage(head)) return planBzImage(parseBzImage(head, file.sizeBytes, file.path));
  if (!isElf(head))
    throw new KernelError(`${file.path} is not a kernel: neither a bzImage (/boot/vmlinuz-…) nor an ELF vmlinux`);
  const { segments, entry } = parseElfKernel(head, file.sizeBytes, file.path);
  const end = Math.max(...segments.map((one) => one.loadAddress + one.memoryBytes));
  return { segments, entry, end, initrdMax: INITRD_MAX, commandLineMax: COMMAND_LINE_DEFAULT_MAX };
}

function planBzImage(image: BzImage): Plan {
  return { ...image, segments: [image], end: image.loadAddress + image.memoryBytes };
}

function checkSegments({ segments, end }: Plan, name: string, memoryBytes: number, initrdBytes: number): void {
  if (segments.some((one) => one.loadAddress < LEGACY_AREA.end))
    throw new KernelError(`${name} wants to stand below ${mib(ACPI_TABLES.end)}: what the boot needs is there`);
  const needed = pageUp(end) + pageUp(initrdBytes);
  if (needed <= memoryBytes) return;
  const what = initrdBytes === 0 ? 'this kernel needs' : 'kernel and initrd need';
  if (needed > LOW_MEMORY_END)
    throw new KernelError(`${what} ${mib(needed)} below the devices, and there are ${mib(LOW_MEMORY_END)}`);
  throw new KernelError(
    `${mib(memoryBytes)} of memory are too few: ${what} ${mib(needed)} to start with, and more to run`,
  );
}

/** "it is recommended to place it as high as possible" below initrd_addr_max. */
function placeInitrd({ end, initrdMax }: Plan, { path, sizeBytes }: KernelFile, memoryBytes: number) {
  if (sizeBytes === 0) throw new KernelError(`the initrd ${path} is empty`);
  const top = Math.min(memoryBytes, initrdMax + 1);
  const address = Math.floor((top - sizeBytes) / PAGE_BYTES) * PAGE_BYTES;
  if (address < end)
    throw new KernelError(`the initrd ${path} (${mib(sizeBytes)}) does not fit between the kernel and ${mib(top)}`);
  return { address, sizeBytes };
}

function pageUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
}

/** Formats bytes in MiB, rounded up, to compare with --memory. */
function mib(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
