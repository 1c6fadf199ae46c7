// virtio-blk, §5.2: the device: features, configuration space, cache mode, size.
import type { DeviceConfig, DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue, ExpectBatch } from '../../virtio/device-queue.ts';
import type { Log } from '../../virtio/log.ts';
import { QUEUE_SIZE_MAX, VIRTIO_ID_BLOCK } from '../../virtio/spec.ts';
import {
  type BlockDeviceOptions,
  blockFeatures,
  checkBlockOptions,
  hasCache,
  QUEUES_DEFAULT,
  writeBlockConfig,
  writeCapacity,
} from './block-config.ts';
import { blockExpectation } from './block-expectation.ts';
import { BlockRequests } from './block-requests.ts';
import type { BlockStore } from './block-store.ts';
import { checkStore } from './check-store.ts';
import * as blk from './spec.ts';

/**
 * A disk. Features follow from what the store can do.
 *
 * @example
 * serve(new BlockDevice(disk, { serial: 'my-disk' }), { vhostUser: '/tmp/mine.sock' });
 */
export class BlockDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_BLOCK;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config: DeviceConfig;
  readonly maxInFlight?: number;
  readonly #store: BlockStore;
  readonly #requests: BlockRequests;
  readonly #expect: ExpectBatch | undefined;
  readonly #hasCache: boolean;
  readonly #bytes = new Uint8Array(blk.CONFIG_BYTES);
  #context: DeviceContext | undefined;
  /** The features that the driver accepted last. Until then it is assumed to use FLUSH. */
  #accepted = blk.VIRTIO_BLK_F_FLUSH;
  /** The cache mode that the driver chose last. */
  #isWriteback = true;

  /**
   * Throws TypeError where `store` is no BlockStore, and RangeError for an invalid option: one line that says what is
   * wanted.
   */
  constructor(store: BlockStore, options: BlockDeviceOptions = {}) {
    checkStore(store);
    checkBlockOptions(store, options);
    this.#store = store;
    const log: Log = (line, about) => this.#context?.log(line, about);
    this.features = blockFeatures(store);
    this.queueSizes = Array.from({ length: options.queues ?? QUEUES_DEFAULT }, () => QUEUE_SIZE_MAX);
    if (store.maxInFlight !== undefined) this.maxInFlight = store.maxInFlight;
    this.#requests = new BlockRequests(store, options, {
      log,
      timer: (delayMs, task) => this.#context?.timer(delayMs, task),
    });
    this.#expect = blockExpectation(store, log);
    this.#hasCache = hasCache(store);
    this.config = { bytes: this.#bytes, write: (offset, bytes) => this.#write(offset, bytes) };
    writeBlockConfig(this.#bytes, store, options);
  }

  /** Bytes read and written for the guest so far. */
  get bytes(): { readonly read: number; readonly written: number } {
    const { read, written } = this.#requests.counts;
    return { read, written };
  }

  /** What it has done so far: the memory of its `BlockCounts`. */
  get counts(): SharedArrayBuffer {
    return this.#requests.counts.memory;
  }

  get isSettled(): boolean {
    return this.#requests.isSettled;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
    this.#store.attach?.({
      watch: (fd, handlers) => context.watch(fd, handlers),
      soon: (task, source) => context.soon(task, source),
      timer: (delayMs, task) => context.timer(delayMs, task),
      batch: (complete) => this.#requests.batch(complete),
    });
  }

  start(features: bigint, context: DeviceContext): void {
    this.#context = context;
    this.#accepted = features;
    this.#showCacheMode();
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain(this.#requests.serve, this.#expect);
  }

  /**
   * A write of the driver to the configuration space. The cache mode can be written at any time: a VMM may forward it
   * before it forwards the accepted features. It stays until the next write, or a reset.
   */
  #write(offset: number, bytes: Uint8Array): boolean {
    if (!this.#hasCache || offset !== blk.CONFIG.writeback || bytes.length !== 1) return false;
    this.#isWriteback = bytes[0] !== 0;
    this.#showCacheMode();
    return true;
  }

  /**
   * Without FLUSH the driver cannot make a write durable, so each write has to be durable before it completes;
   * `writeback` is then 0, §5.2.5.2.
   */
  #showCacheMode(): void {
    const mayFlush = (this.#accepted & blk.VIRTIO_BLK_F_FLUSH) !== 0n;
    const readsWritethrough = !mayFlush && (this.#accepted & blk.VIRTIO_BLK_F_CONFIG_WCE) !== 0n;
    this.#requests.writethrough = !mayFlush || !this.#isWriteback;
    this.#bytes[blk.CONFIG.writeback] = this.#hasCache && this.#isWriteback && !readsWritethrough ? 1 : 0;
  }

  reset(): void {
    this.#accepted = blk.VIRTIO_BLK_F_FLUSH;
    this.#isWriteback = true;
    this.#showCacheMode();
  }

  /** Tries the requests again that are held after an error of the store, see `BlockDeviceOptions.onError`. */
  retryHeld(): void {
    this.#requests.retryHeld();
  }

  /** How many requests are held that no other process could go on with: their front end keeps no record of them. */
  get heldUnrecorded(): number {
    return this.#requests.heldUnrecorded;
  }

  /**
   * Another process will serve the disk: leaves to it the requests that are held, and those that would be from now on.
   * Those that it would not know of stay (`heldUnrecorded`).
   */
  passOn(): void {
    this.#requests.passOn();
  }

  /** The store has a new size, in bytes: changes the capacity and notifies the driver. */
  resize(sizeBytes: number): void {
    if (sizeBytes === this.#requests.capacityBytes) return;
    this.#requests.capacityBytes = sizeBytes;
    writeCapacity(this.#bytes, sizeBytes);
    this.#context?.configChanged();
  }
}
