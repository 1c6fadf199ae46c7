// vmm: parses a vmlinux, a 64-bit ELF file, into segments and their physical addresses.
import { KernelError } from './kernel-file.ts';

/** e_ident, and the header behind it (elf(5)). */
const HEADER = {
  class: 4,
  data: 5,
  machine: 18,
  entry: 24,
  programHeaders: 32,
  programHeaderBytes: 54,
  programHeaderCount: 56,
  sizeBytes: 64,
} as const;
const SEGMENT = {
  type: 0,
  offset: 8,
  virtual: 16,
  physical: 24,
  fileBytes: 32,
  memoryBytes: 40,
  sizeBytes: 56,
} as const;
const MAGIC = 0x464c_457f;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const SEGMENTS_MAX = 64;

/** How many bytes of the file `parseElfKernel` needs at most. */
export const ELF_HEAD_BYTES = 8192;

/**
 * A piece of the file and its guest address. It has `memoryBytes` in memory, of which those beyond `fileBytes` are
 * zero.
 */
export interface ElfSegment {
  readonly fileOffset: number;
  readonly fileBytes: number;
  readonly loadAddress: number;
  readonly memoryBytes: number;
}

export interface ElfKernel {
  readonly segments: readonly ElfSegment[];
  /** The first instruction, as a guest address. */
  readonly entry: number;
}

export function isElf(head: Uint8Array<ArrayBuffer>): boolean {
  return head.length >= 4 && new DataView(head.buffer, head.byteOffset).getUint32(0, true) === MAGIC;
}

/** Parses a file for which `isElf(head)` is true. Everything is checked against the file's size. Throws KernelError. */
export function parseElfKernel(head: Uint8Array<ArrayBuffer>, fileSize: number, name: string): ElfKernel {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const damaged = (what: string): KernelError => new KernelError(`${name} ${what}: the file is damaged`);
  if (head.length < HEADER.sizeBytes) throw damaged('ends in the middle of its ELF header');
  if (head[HEADER.class] !== ELFCLASS64 || head[HEADER.data] !== ELFDATA2LSB)
    throw new KernelError(`${name} is an ELF file of 32 bits, or of another byte order: take a kernel for x86-64`);
  const machine = view.getUint16(HEADER.machine, true);
  if (machine !== EM_X86_64) throw new KernelError(`${name} is for ELF machine ${machine}: take a kernel for x86-64`);
  const count = view.getUint16(HEADER.programHeaderCount, true);
  const start = Number(view.getBigUint64(HEADER.programHeaders, true));
  if (view.getUint16(HEADER.programHeaderBytes, true) !== SEGMENT.sizeBytes || count === 0 || count > SEGMENTS_MAX)
    throw damaged(`has ${count} program headers of another size than 56 bytes, or too many`);
  if (start + count * SEGMENT.sizeBytes > head.length) throw damaged('has its program headers beyond its end');
  const named = view.getBigUint64(HEADER.entry, true);
  let entry = Number(named);
  const segments: ElfSegment[] = [];
  for (let at = start; at < start + count * SEGMENT.sizeBytes; at += SEGMENT.sizeBytes) {
    if (view.getUint32(at + SEGMENT.type, true) !== PT_LOAD) continue;
    const segment = segmentAt(view, at);
    if (segment.memoryBytes === 0) continue;
    if (segment.fileBytes > segment.memoryBytes) throw damaged('has a segment with more in the file than in memory');
    if (segment.fileOffset + segment.fileBytes > fileSize) throw damaged('has a segment beyond its end');
    segments.push(segment);
    // Linux gives its entry as a physical address, other kernels as a virtual one, which needs all 64 bits.
    const inside = Number(named - view.getBigUint64(at + SEGMENT.virtual, true));
    if (inside >= 0 && inside < segment.memoryBytes) entry = segment.loadAddress + inside;
  }
  const holds = segments.some((one) => entry >= one.loadAddress && entry - one.loadAddress < one.memoryBytes);
  if (!holds) throw new KernelError(`${name} has no segment that holds its entry: it is no kernel`);
  return { segments, entry };
}

function segmentAt(view: DataView<ArrayBuffer>, at: number): ElfSegment {
  const field = (offset: number): number => Number(view.getBigUint64(at + offset, true));
  return {
    fileOffset: field(SEGMENT.offset),
    fileBytes: field(SEGMENT.fileBytes),
    loadAddress: field(SEGMENT.physical),
    memoryBytes: field(SEGMENT.memoryBytes),
  };
}
