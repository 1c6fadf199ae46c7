// The microVM: a kernel or an initrd, read from its file piece by piece, straight into guest memory.
import { closeSync, fstatSync, constants as open, openSync, readSync } from 'node:fs';
import { SystemError } from '../sys/libc.ts';

const ADVICE: { readonly [code: string]: string } = {
  ENOENT: 'does not exist',
  EACCES: 'permission denied: may you read it?',
  EISDIR: 'is a directory: name the file',
};

export class KernelFile implements Disposable {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #fd: number;

  /** `what` it is to be: `kernel`, `initrd`. Throws SystemError that names the path. */
  constructor(path: string, what: string) {
    this.path = path;
    // O_NONBLOCK: a FIFO must be refused, not waited for.
    this.#fd = orAdvice(path, what, () => openSync(path, open.O_RDONLY | open.O_NONBLOCK));
    const status = fstatSync(this.#fd);
    if (!status.isFile()) {
      closeSync(this.#fd);
      throw new SystemError('open', 'EINVAL', `the ${what} ${path} is not a regular file`);
    }
    this.sizeBytes = status.size;
  }

  /** Fills `into` from `offset`. Throws SystemError, also where the file is shorter than it was. */
  readInto(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const read = orAdvice(this.path, 'file', () => readSync(this.#fd, into, done, into.length - done, offset + done));
      if (read === 0) throw new SystemError('read', 'EIO', `${this.path} became shorter while it was read`);
      done += read;
    }
  }

  /** The first bytes: `sizeBytes` of them, or all there are. */
  head(sizeBytes: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Math.min(sizeBytes, this.sizeBytes));
    this.readInto(0, bytes);
    return bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function orAdvice<T>(path: string, what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const { code = 'EIO', syscall = 'open' } = error as NodeJS.ErrnoException;
    throw new SystemError(syscall, code, `the ${what} ${path} ${ADVICE[code] ?? 'cannot be read'}`);
  }
}
