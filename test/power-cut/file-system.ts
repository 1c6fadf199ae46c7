// test/power-cut: the file systems, and how each is made, mounted and checked.
import type { GuestProgram } from '../../guests/guest-programs.ts';
import type { ByteRange } from './recording.ts';

export type FileSystemName = 'ext4' | 'xfs';

export interface FileSystem {
  readonly name: FileSystemName;
  readonly diskBytes: number;
  /** The program with which a guest makes it on /dev/vda. */
  readonly maker: GuestProgram;
  readonly make: string;
  /** A program of this machine, to which the path of an image is added: exits with 0 if it is clean after an unmount. */
  readonly check: readonly [name: string, ...words: string[]];
  /** Whether this machine's programs can replay its journal and take its files out. */
  readonly hostReplays: boolean;
  /** So many that about half of the points are at flushes. */
  readonly pointsAStep: number;
  /** Bytes that it relies on a disk never to tear. */
  readonly untorn?: ByteRange;
}

const MIB = 2 ** 20;

export const FILE_SYSTEMS: Readonly<Record<FileSystemName, FileSystem>> = {
  ext4: {
    name: 'ext4',
    diskBytes: 32 * MIB,
    maker: { name: 'mke2fs', debianPackage: 'e2fsprogs', guestPath: 'sbin/mkfs.ext4' },
    make: 'mkfs.ext4 -q -F /dev/vda',
    check: ['e2fsck', '-f', '-n'],
    hostReplays: true,
    pointsAStep: 4.5,
    // The superblock, which is read before the journal: its checksum, in the second sector, covers the first one too.
    untorn: { offset: 1024, length: 1024 },
  },
  xfs: {
    name: 'xfs',
    // mkfs.xfs refuses less than 300 MiB.
    diskBytes: 320 * MIB,
    maker: { name: 'mkfs.xfs', debianPackage: 'xfsprogs', guestPath: 'sbin/mkfs.xfs' },
    make: 'mkfs.xfs -q -f /dev/vda',
    // Without prefetch and with a small cache it takes half the time on such a small one.
    check: ['xfs_repair', '-f', '-n', '-P', '-o', 'bhash=64'],
    hostReplays: false,
    pointsAStep: 3.5,
  },
};
