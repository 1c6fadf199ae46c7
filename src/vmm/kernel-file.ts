// vmm: the file of a kernel or an initrd, and its copy into the memfd of guest memory.
import { closeSync, fstatSync, constants as open, openSync, readSync, writeSync } from 'node:fs';
import { SystemError } from '../sys/libc.ts';

/** Size of the copy buffer: small enough to stay in a processor's cache. */
const PIECE_BYTES = 256 * 1024;

const ADVICE: { readonly [code: string]: string } = {
  ENOENT: 'does not exist',
  EACCES: 'permission denied: may you read it?',
  EISDIR: 'is a directory: name the file',
};

/** This kernel cannot be booted, or not with this memory. The message is one line with the reason and what to do. */
export class KernelError extends Error {
  readonly code = 'BELFRY_KERNEL';

  constructor(message: string) {
    super(message);
    this.name = 'KernelError';
  }
}

/** An open kernel or initrd file. */
export class KernelFile implements Disposable {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #fd: number;

  /** @param what its name in errors: `kernel`, `initrd`. Throws SystemError that names the path. */
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

  /**
   * Copies `sizeBytes` from `offset` into the file `memory`, from `at` on. Writing to the file causes no page faults:
   * where those are slow (in a nested VM) this takes a fifth of the time of reading into the mapping. Throws
   * SystemError, also where this file became shorter.
   */
  copyInto(memory: number, at: number, offset: number, sizeBytes: number): void {
    const piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes));
    for (let done = 0; done < sizeBytes; ) {
      const part = piece.subarray(0, sizeBytes - done);
      this.#read(offset + done, part);
      for (let written = 0; written < part.length; )
        written += orAdvice('memory', 'guest', () =>
          writeSync(memory, part, written, part.length - written, at + done + written),
        );
      done += part.length;
    }
  }

  #read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const read = orAdvice(this.path, 'file', () => readSync(this.#fd, into, done, into.length - done, offset + done));
      if (read === 0) throw new SystemError('read', 'EIO', `${this.path} became shorter while it was read`);
      done += read;
    }
  }

  /** Returns the first `sizeBytes` bytes, or all if there are fewer. */
  head(sizeBytes: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Math.min(sizeBytes, this.sizeBytes));
    this.#read(0, bytes);
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
