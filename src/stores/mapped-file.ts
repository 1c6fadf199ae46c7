// stores: a mapped file on tmpfs or hugetlbfs, or a memfd: a request is one copy.
import type { BlockStore } from '../devices/blk/block-store.ts';
import type { ImageFile } from '../sys/file.ts';
import { SystemError } from '../sys/libc.ts';
import { Mapping } from '../sys/mapping.ts';
import type { AllocationMap } from './allocation-map.ts';
import { readOnly } from './filters/read-only.ts';
import { formatSize } from './size.ts';

/** Serves `file`; the store closes it and `map`. Read-only if the file was opened so. Throws SystemError. */
export function mappedFile(file: ImageFile, map: AllocationMap): BlockStore {
  const store = new MappedFile(file, map);
  return file.readOnly ? readOnly()(store) : store;
}

/** It has no `flush`: its bytes are in memory, and there is nothing more durable to flush them to. */
class MappedFile implements BlockStore {
  readonly name: string;
  readonly physicalBlockBytes: number;
  readonly #file: ImageFile;
  readonly #map: AllocationMap;
  #mapping: Mapping;
  #buffer: ArrayBuffer;
  #view: DataView;
  /** The result of the loads of `prefetch`. It is stored so that V8 does not eliminate them. */
  nearby = 0;

  constructor(file: ImageFile, map: AllocationMap) {
    this.name = file.name;
    this.physicalBlockBytes = file.physicalBlockBytes;
    this.#file = file;
    this.#map = map;
    this.#mapping = mapWhole(file);
    this.#buffer = this.#mapping.bytes.buffer;
    this.#view = new DataView(this.#buffer);
  }

  get sizeBytes(): number {
    return this.#buffer.byteLength;
  }

  read(offset: number, into: Uint8Array): void {
    this.#map.begin();
    try {
      if (this.#map.covers(offset, into.length)) return into.set(new Uint8Array(this.#buffer, offset, into.length));
    } finally {
      this.#map.end();
    }
    // A load from a hole would allocate a page for it; pread(2) does not.
    this.#file.readInto(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#map.begin();
    try {
      if (this.#map.covers(offset, from.length) || this.#map.allocate(offset, from.length))
        return new Uint8Array(this.#buffer, offset, from.length).set(from);
    } finally {
      this.#map.end();
    }
    this.#file.writeFrom(offset, from);
  }

  /**
   * Loads the first byte of each request: half the time of a random 4 KiB read is its first cache miss, and these
   * overlap.
   */
  prefetch(offsets: Float64Array, count: number): void {
    let near = 0;
    this.#map.begin();
    try {
      for (let i = 0; i < count; i++) {
        const offset = offsets[i] as number;
        if (this.#map.covers(offset, 1)) near ^= this.#view.getUint8(offset);
      }
    } finally {
      this.#map.end();
    }
    this.nearby = near;
  }

  discard(offset: number, length: number): void {
    this.#map.release(offset, offset + length);
  }

  writeZeroes(offset: number, length: number, mayUnmap: boolean): void {
    this.#map.zero(this.#buffer, offset, offset + length, mayUnmap);
  }

  /** Maps the file again if its size changed. It has to be called on every thread that serves the file. */
  refreshSize(): number {
    const sizeBytes = this.#file.currentSize();
    if (sizeBytes === this.sizeBytes) return sizeBytes;
    const mapping = mapWhole(this.#file);
    this.#mapping[Symbol.dispose]();
    this.#mapping = mapping;
    this.#buffer = mapping.bytes.buffer;
    this.#view = new DataView(this.#buffer);
    this.#map.resize(this.sizeBytes);
    return this.sizeBytes;
  }

  close(): void {
    this.#map.close();
    this.#mapping[Symbol.dispose]();
    this.#file[Symbol.dispose]();
  }
}

/** Throws SystemError. */
function mapWhole(file: ImageFile): Mapping {
  const sizeBytes = file.currentSize();
  try {
    const mapping = Mapping.ofFile(file.fd, sizeBytes, { writable: !file.readOnly });
    mapping.keepPrivate();
    return mapping;
  } catch (error) {
    if ((error as SystemError).code !== 'ENOMEM') throw error;
    const why = 'the addresses of a process (or its ulimit -v) do not suffice: choose a smaller size';
    throw new SystemError('mmap', 'ENOMEM', `${file.name}: this machine cannot map ${formatSize(sizeBytes)}: ${why}`);
  }
}
