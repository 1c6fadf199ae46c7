// bench/threads: the disk of a measurement in this process: in memory, every block written. Each thread opens it.
import { type BlockStore, openStore, type StoreDescription } from '../../src/index.ts';
import { BenchDisk } from '../bench-disk.ts';

export class BenchStore implements Disposable {
  readonly sizeBytes: number;
  readonly description: StoreDescription;
  readonly #store: BlockStore;
  readonly #disk: BenchDisk;

  /** Throws RangeError where there is not enough memory, SystemError. */
  constructor(sizeBytes: number) {
    using disk = new DisposableStack();
    this.#disk = disk.use(new BenchDisk(sizeBytes));
    const { store, description } = openStore(this.#disk.path, { readOnly: true });
    this.sizeBytes = sizeBytes;
    this.description = description;
    this.#store = store;
    disk.move();
  }

  [Symbol.dispose](): void {
    this.#store.close?.();
    this.#disk[Symbol.dispose]();
  }
}
