// First floor: virtio-blk, §5.2: the device around its requests: features, configuration space, cache mode, size.
import type { VirtioDevice } from '../../virtio/device.ts';
import type { ExpectBatch, Virtqueue } from '../../virtio/device-queue.ts';
import { QUEUE_SIZE_MAX, VIRTIO_ID_BLOCK } from '../../virtio/spec.ts';
import {
  type BlockDeviceOptions,
  blockFeatures,
  QUEUES_DEFAULT,
  writeBlockConfig,
  writeCapacity,
} from './block-config.ts';
import { blockExpectation } from './block-expectation.ts';
import { BlockRequests } from './block-requests.ts';
import type { BlockStore } from './block-store.ts';
import * as blk from './spec.ts';

export class BlockDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_BLOCK;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config = new Uint8Array(blk.CONFIG_BYTES);
  onConfigChange: (() => void) | undefined;
  readonly #requests: BlockRequests;
  readonly #expect: ExpectBatch | undefined;
  readonly #hasCache: boolean;
  #accepted = 0n;

  constructor(store: BlockStore, options: BlockDeviceOptions = {}) {
    this.features = blockFeatures(store);
    this.queueSizes = Array.from({ length: options.queues ?? QUEUES_DEFAULT }, () => QUEUE_SIZE_MAX);
    this.#requests = new BlockRequests(store, options.serial ?? 'belfry', options.onError);
    this.#expect = blockExpectation(store, options.onError);
    this.#hasCache = store.flush !== undefined;
    writeBlockConfig(this.config, store, options);
  }

  /** Bytes moved for the guest so far. */
  get bytes(): { readonly read: number; readonly written: number } {
    return this.#requests.bytes;
  }

  process(queue: Virtqueue): number {
    return queue.drain(this.#requests.serve, this.#expect);
  }

  activate(features: bigint): void {
    this.#accepted = features;
    // Without FLUSH the driver has no way to make a write durable, so its completion has to.
    this.#setWriteback((features & blk.VIRTIO_BLK_F_FLUSH) !== 0n);
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    const negotiated = (this.#accepted & blk.VIRTIO_BLK_F_CONFIG_WCE) !== 0n;
    if (!negotiated || offset !== blk.CONFIG.writeback || bytes.length !== 1) return false;
    this.#setWriteback(bytes[0] !== 0);
    return true;
  }

  #setWriteback(writeback: boolean): void {
    this.#requests.writethrough = !writeback;
    this.config[blk.CONFIG.writeback] = writeback && this.#hasCache ? 1 : 0;
  }

  reset(): void {
    this.#accepted = 0n;
    this.#setWriteback(true);
  }

  /** Takes over a new size of the store; the driver is told. */
  resize(sizeBytes: number): void {
    if (sizeBytes === this.#requests.capacityBytes) return;
    this.#requests.capacityBytes = sizeBytes;
    writeCapacity(this.config, sizeBytes);
    this.onConfigChange?.();
  }
}
