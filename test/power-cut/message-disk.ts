// test/power-cut: a small disk over which a guest's shell and this process exchange lines, in order with its other disks.
import type { BlockStore, MaybePromise } from '../../src/index.ts';

const SIZE_BYTES = 4096;

/**
 * A disk of one page. What the guest writes at its start is a line for `receive`, which runs before the write completes,
 * and so before the guest goes on: `echo LINE >/dev/vdb` writes when it closes the disk. What the guest reads
 * (`read line </dev/vdb`) is `line()`.
 */
export function messageDisk(line: () => string, receive: (line: string) => MaybePromise<void>): BlockStore {
  return {
    sizeBytes: SIZE_BYTES,
    read(offset, into) {
      const page = new Uint8Array(SIZE_BYTES);
      new TextEncoder().encodeInto(`${line()}\n`, page);
      into.set(page.subarray(offset, offset + into.length));
    },
    write(offset, from) {
      if (offset === 0) return receive(new TextDecoder().decode(from).split('\n')[0] as string);
    },
  };
}
