// sys: off-heap memory for syscall arguments. The collector moves small typed arrays; this memory does not move.
import { Mapping } from './mapping.ts';

const PAGE_BYTES = 4096;

/** Bytes with a fixed address. Owned until disposed. */
export class Scratch implements Disposable {
  readonly address: bigint;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly #mapping: Mapping;

  constructor(sizeBytes: number) {
    this.#mapping = Mapping.anonymous(Math.ceil(sizeBytes / PAGE_BYTES) * PAGE_BYTES);
    this.address = this.#mapping.address;
    this.bytes = this.#mapping.bytes;
    this.view = new DataView(this.bytes.buffer);
  }

  /** Writes a NUL-terminated string at an offset and returns its address. */
  cString(offset: number, text: string): bigint {
    const { written } = new TextEncoder().encodeInto(text, this.bytes.subarray(offset));
    this.bytes[offset + written] = 0;
    return this.address + BigInt(offset);
  }

  [Symbol.dispose](): void {
    this.#mapping[Symbol.dispose]();
  }
}

/**
 * This thread's scratch, for arguments that the kernel does not use after the call has returned. The next call
 * overwrites it.
 */
export const callScratch = new Scratch(64 * 1024);
