// test/power-cut: the regular files of a tar archive (ustar of POSIX.1), as busybox writes it.
import type { Files } from './promises.ts';

const BLOCK_BYTES = 512;
const NAME = [0, 100] as const;
const SIZE = [124, 136] as const;
const CHECKSUM = [148, 156] as const;
const TYPE = 156;
const PREFIX = [345, 500] as const;
const REGULAR = ['0', '\0'];

/** Throws an Error where the archive is damaged or does not end. */
export function tarFiles(archive: Uint8Array): Files {
  const files = new Map<string, Uint8Array>();
  for (let offset = 0; ; ) {
    const header = archive.subarray(offset, offset + BLOCK_BYTES);
    if (header.length < BLOCK_BYTES) throw new Error(`the archive ends at ${offset} without an end mark`);
    if (header.every((byte) => byte === 0)) return files;
    checkSum(header, offset);
    const sizeBytes = Number.parseInt(textAt(header, SIZE), 8);
    offset += BLOCK_BYTES;
    const content = archive.subarray(offset, offset + sizeBytes);
    if (content.length < sizeBytes) throw new Error(`the archive ends within a file of ${sizeBytes} bytes`);
    if (REGULAR.includes(String.fromCharCode(header[TYPE] as number))) files.set(pathOf(header), content.slice());
    offset += Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

function pathOf(header: Uint8Array): string {
  const prefix = textAt(header, PREFIX);
  const name = textAt(header, NAME);
  return (prefix === '' ? name : `${prefix}/${name}`).replace(/^\.\//, '');
}

function textAt(header: Uint8Array, [from, to]: readonly [number, number]): string {
  const field = new TextDecoder().decode(header.subarray(from, to));
  return (field.split('\0')[0] as string).trim();
}

// The sum of the header's bytes, those of the sum itself taken as spaces.
function checkSum(header: Uint8Array, offset: number): void {
  let sum = 0;
  for (const [i, byte] of header.entries()) sum += i >= CHECKSUM[0] && i < CHECKSUM[1] ? 0x20 : byte;
  if (sum !== Number.parseInt(textAt(header, CHECKSUM), 8)) throw new Error(`no header of a tar archive at ${offset}`);
}
