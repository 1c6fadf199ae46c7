// stores: recognizes image formats other than raw by their first or last bytes, for an error with advice.
import { basename } from 'node:path';

/** A format that is not served as a disk. */
export interface ImageFormat {
  /** As in messages: `qcow2`, `gzip`. */
  readonly name: string;
  /** A disk image in another format, compressed bytes, or a program. */
  readonly kind: 'image' | 'compressed' | 'program';
  /** The command that unpacks standard input. */
  readonly unpack?: string;
}

interface Magic extends ImageFormat {
  readonly bytes: string | readonly number[];
  /** The offset of the bytes from the start of the file; negative: from its end. Default 0. */
  readonly at?: number;
}

/** The bytes at each end of a file that `recognizeFormat` needs. */
export const MAGIC_BYTES = 512;

/** The first match decides. */
const magics: readonly Magic[] = [
  { name: 'qcow', kind: 'image', bytes: 'QFI\xfb\0\0\0\x01' },
  { name: 'qcow2', kind: 'image', bytes: 'QFI\xfb' },
  { name: 'qed', kind: 'image', bytes: 'QED\0' },
  { name: 'vmdk', kind: 'image', bytes: 'KDMV' },
  { name: 'vmdk', kind: 'image', bytes: 'COWD' },
  { name: 'vmdk', kind: 'image', bytes: '# Disk DescriptorFile' },
  { name: 'vpc (VHD)', kind: 'image', bytes: 'conectix' },
  // An image of fixed size has only a footer, of 512 bytes; old programs wrote 511.
  { name: 'vpc (VHD)', kind: 'image', bytes: 'conectix', at: -512 },
  { name: 'vpc (VHD)', kind: 'image', bytes: 'conectix', at: -511 },
  { name: 'vhdx', kind: 'image', bytes: 'vhdxfile' },
  { name: 'vdi', kind: 'image', bytes: [0x7f, 0x10, 0xda, 0xbe], at: 0x40 },
  { name: 'parallels', kind: 'image', bytes: 'WithoutFreeSpace' },
  { name: 'parallels', kind: 'image', bytes: 'WithouFreSpacExt' },
  { name: 'dmg', kind: 'image', bytes: 'koly', at: -512 },
  { name: 'gzip', kind: 'compressed', bytes: [0x1f, 0x8b, 8], unpack: 'gunzip' },
  { name: 'xz', kind: 'compressed', bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], unpack: 'unxz' },
  { name: 'zstd', kind: 'compressed', bytes: [0x28, 0xb5, 0x2f, 0xfd], unpack: 'zstd -d' },
  { name: 'lz4', kind: 'compressed', bytes: [0x04, 0x22, 0x4d, 0x18], unpack: 'lz4 -d' },
  { name: 'bzip2', kind: 'compressed', bytes: '1AY&SY', at: 4, unpack: 'bunzip2' },
  { name: 'ELF', kind: 'program', bytes: '\x7fELF' },
];

/** An image in another format than raw. */
export class ImageFormatError extends Error {
  /** Match on this: the message may change. */
  readonly code = 'BELFRY_IMAGE_FORMAT';
  /** `qcow2`, `gzip`, … */
  readonly format: string;

  constructor(path: string, format: ImageFormat) {
    super(`${path} ${refusal(path, format)}; --format raw serves its bytes as they are`);
    this.name = 'ImageFormatError';
    this.format = format.name;
  }
}

/**
 * Returns the format of a file. `head` and `tail` have MAGIC_BYTES, or the whole file. Undefined: it may be a raw disk.
 */
export function recognizeFormat(head: Uint8Array, tail: Uint8Array): ImageFormat | undefined {
  return magics.find(({ bytes, at = 0 }) => (at < 0 ? has(tail, tail.length + at, bytes) : has(head, at, bytes)));
}

function has(where: Uint8Array, at: number, bytes: string | readonly number[]): boolean {
  const wanted = typeof bytes === 'string' ? Array.from(bytes, (letter) => letter.charCodeAt(0)) : bytes;
  return at >= 0 && wanted.every((byte, i) => where[at + i] === byte);
}

function refusal(path: string, { name, kind, unpack }: ImageFormat): string {
  if (kind === 'program') return `is a program (${name}), not a disk: name an image`;
  if (kind === 'compressed') return `is compressed (${name}): "${unpack} < ${path} > ${rawName(path)}" unpacks it`;
  const convert = `"qemu-img convert -O raw ${path} ${rawName(path)}" makes it a raw one`;
  return `is a ${name} image: ${convert}, qemu-storage-daemon or qemu-nbd serves it as it is`;
}

/** `disk.raw` for disk.qcow2, `disk.img` for disk.img.gz: a name in the current folder, other than `path`'s. */
function rawName(path: string): string {
  const name = basename(path);
  const stem = name.replace(/\.[a-z0-9]{1,9}$/i, '');
  if (stem !== name && /\.(img|raw|bin|iso)$/i.test(stem)) return stem;
  return `${stem}.raw` === name ? `${name}.raw` : `${stem}.raw`;
}
