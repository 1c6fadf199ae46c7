// sys: what to do about a path that cannot be opened as a disk image.
import { fstatSync } from 'node:fs';
import { constants as os } from 'node:os';
import { errno, SystemError } from './libc.ts';

/** Advice for the error of the last open(2). */
export function openAdvice(path: string): string {
  switch (errno()) {
    case os.errno.ENOENT:
      return `${path} does not exist`;
    case os.errno.EACCES:
    case os.errno.EPERM:
      return `${path}: permission denied: change its mode or owner, or open it read-only if you may read it`;
    case os.errno.EISDIR:
      return `${path} is a directory: name a file or a block device`;
    case os.errno.EROFS:
      return `${path} is on a read-only file system: open it read-only`;
    case os.errno.ETXTBSY:
      return `${path} is a program that is running, or swap space: use another file`;
    default:
      return path;
  }
}

/** Throws SystemError unless it is a regular file or a block device. */
export function checkKind(fd: number, path: string): void {
  const status = fstatSync(fd);
  if (status.isFile() || status.isBlockDevice()) return;
  if (status.isDirectory())
    throw new SystemError('open', 'EISDIR', `${path} is a directory: name a file or a block device`);
  throw new SystemError('open', 'EINVAL', `${path} is neither a file nor a block device`);
}
