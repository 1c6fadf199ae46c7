// testing: memory with a guard page on either side: an access beyond the end kills the process with SIGSEGV.
import { PROT_NONE } from '../sys/constants.ts';
import { check, libc } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';

/** The page size of x86-64 and of most arm64 kernels; others refuse the mprotect. */
const PAGE_BYTES = 4096;

/** Memory between two guard pages. */
export class GuardedMemory implements Disposable {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #mapping: Mapping;

  /** @param sizeBytes a multiple of 4096. The ArrayBuffer of `bytes` spans the guard pages too. Throws SystemError. */
  constructor(sizeBytes: number) {
    this.#mapping = Mapping.anonymous(sizeBytes + 2 * PAGE_BYTES);
    this.bytes = this.#mapping.bytes.subarray(PAGE_BYTES, PAGE_BYTES + sizeBytes);
    const { address } = this.#mapping;
    for (const guard of [address, address + BigInt(PAGE_BYTES + sizeBytes)]) {
      // SAFETY: both pages are in the mapping this object owns, and `bytes` leaves them out.
      check(libc.mprotect(guard, BigInt(PAGE_BYTES), PROT_NONE), 'mprotect', `a guard of ${PAGE_BYTES} bytes`);
    }
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}
