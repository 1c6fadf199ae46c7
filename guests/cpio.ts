// guests: writes a newc cpio archive, the format Linux unpacks into its first root file system.

/** One file of the archive; paths are relative ("bin/busybox"), parents come before their children. */
export type CpioEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly bytes: Uint8Array }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'character-device'; readonly path: string; readonly major: number; readonly minor: number };

const HEADER_BYTES = 110;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const NOTHING = new Uint8Array(0);
const ascii = new TextEncoder();

interface Record {
  readonly path: string;
  readonly mode: number;
  readonly content: Uint8Array;
  readonly major: number;
  readonly minor: number;
}

/**
 * The archive of `entries`, in their order, closed by the trailer record.
 * Every record is owned by root and dated 1970: the same entries give the same bytes.
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 */
export function newcArchive(entries: readonly CpioEntry[]): Uint8Array {
  const records = entries.map(recordOf);
  records.push({ path: 'TRAILER!!!', mode: 0, content: NOTHING, major: 0, minor: 0 });
  const archive = new Uint8Array(records.reduce((total, record) => total + recordBytes(record), 0));
  let offset = 0;
  for (const [index, record] of records.entries()) {
    const isTrailer = index === records.length - 1;
    offset = writeRecord(archive, offset, record, isTrailer ? 0 : index + 1);
  }
  return archive;
}

function recordOf(entry: CpioEntry): Record {
  const plain = { path: entry.path, content: NOTHING, major: 0, minor: 0 };
  switch (entry.kind) {
    case 'folder':
      return { ...plain, mode: S_IFDIR | 0o755 };
    case 'file':
      return { ...plain, mode: S_IFREG | entry.mode, content: entry.bytes };
    case 'link':
      return { ...plain, mode: S_IFLNK | 0o777, content: ascii.encode(entry.target) };
    case 'character-device':
      return { ...plain, mode: S_IFCHR | 0o600, major: entry.major, minor: entry.minor };
  }
}

function recordBytes(record: Record): number {
  return align4(HEADER_BYTES + ascii.encode(record.path).length + 1) + align4(record.content.length);
}

function writeRecord(archive: Uint8Array, offset: number, record: Record, inode: number): number {
  const name = ascii.encode(`${record.path}\0`);
  const isFolder = (record.mode & S_IFDIR) !== 0;
  // Field order: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
  const fields = [
    inode,
    record.mode,
    0,
    0,
    isFolder ? 2 : 1,
    0,
    record.content.length,
    0,
    0,
    record.major,
    record.minor,
    name.length,
    0,
  ];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  archive.set(ascii.encode(header), offset);
  archive.set(name, offset + HEADER_BYTES);
  const contentOffset = offset + align4(HEADER_BYTES + name.length);
  archive.set(record.content, contentOffset);
  return contentOffset + align4(record.content.length);
}

function align4(length: number): number {
  return (length + 3) & ~3;
}
