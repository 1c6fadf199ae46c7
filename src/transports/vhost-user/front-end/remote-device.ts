// vhost-user/front-end: what the driver sees of a device in a vhost-user back end.
import { RING_FEATURES } from '../../../virtio/negotiated-format.ts';
import { DEVICE_FEATURE_BITS } from '../../../virtio/spec.ts';
import type { DeviceTraits } from '../../queue/queue-host.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import type { RemoteBackEnd } from './remote-back-end.ts';

/** Every back end accepts this size, because QEMU uses it. No message reports a larger limit. */
const QUEUE_SIZE_MAX = 128;

export interface RemoteDeviceOptions {
  readonly type: number;
  /** Whether a driver may write `sizeBytes` at `offset` of the configuration space. Default: nowhere. */
  readonly isWritable?: (offset: number, sizeBytes: number) => boolean;
}

/** The traits of a device, taken from the first back end and kept when another one takes over. */
export class RemoteDevice implements DeviceTraits {
  readonly type: number;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config: { bytes: Uint8Array; write(offset: number, bytes: Uint8Array): boolean };
  readonly #isWritable: (offset: number, sizeBytes: number) => boolean;

  /** Takes the traits from `backEnd`. Throws BackEndError if it lacks a needed feature. */
  constructor(backEnd: RemoteBackEnd, options: RemoteDeviceOptions) {
    const { offeredFeatures, queueCount } = backEnd.requests;
    const missing = RING_FEATURES & ~offeredFeatures;
    if (missing !== 0n)
      throw new BackEndError(
        'GET_FEATURES',
        `does not offer the feature bits 0x${missing.toString(16)}, which are needed`,
      );
    this.type = options.type;
    this.features = offeredFeatures & DEVICE_FEATURE_BITS;
    this.queueSizes = Array.from({ length: queueCount ?? 1 }, () => QUEUE_SIZE_MAX);
    this.#isWritable = options.isWritable ?? (() => false);
    this.config = { bytes: backEnd.config.slice(), write: (offset, bytes) => this.#write(offset, bytes) };
  }

  /** Stores the present configuration space; returns whether it changed. */
  update(config: Uint8Array): boolean {
    if (config.every((byte, i) => byte === this.config.bytes[i])) return false;
    this.config.bytes = config.slice();
    return true;
  }

  #write(offset: number, bytes: Uint8Array): boolean {
    if (!this.#isWritable(offset, bytes.length)) return false;
    this.config.bytes.set(bytes, offset);
    return true;
  }

  /**
   * Why `backEnd` cannot replace the first one; undefined: it can. Bytes that the driver may write are not compared.
   */
  difference(backEnd: RemoteBackEnd): string | undefined {
    const { offeredFeatures, queueCount } = backEnd.requests;
    const missing = (this.features | RING_FEATURES) & ~offeredFeatures;
    if (missing !== 0n) return `it no longer offers the feature bits 0x${missing.toString(16)}`;
    if ((queueCount ?? 1) < this.queueSizes.length)
      return `it has ${queueCount ?? 1} queues, there were ${this.queueSizes.length}`;
    const at = backEnd.config.findIndex((byte, i) => byte !== this.config.bytes[i] && !this.#isWritable(i, 1));
    return at < 0 ? undefined : `its configuration space is another one from byte ${at} on`;
  }
}
