// Ground floor: what the driver sees of a device that lives behind a vhost-user socket.
import {
  DEVICE_FEATURE_BITS,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from '../../../virtio/spec.ts';
import type { DeviceTraits } from '../../queue/queue-host.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import type { RemoteBackEnd } from './remote-back-end.ts';

/** What our registers offer to every driver, so that every back end has to. */
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
/** Every back end takes this: it is what QEMU asks for. There is no message to find out more. */
const QUEUE_SIZE_MAX = 128;

export interface RemoteDeviceOptions {
  readonly type: number;
  /** Whether a driver may write `sizeBytes` at `offset` of the configuration space. Nowhere unless said. */
  readonly isWritable?: (offset: number, sizeBytes: number) => boolean;
}

export class RemoteDevice implements DeviceTraits {
  readonly type: number;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config: { bytes: Uint8Array; write(offset: number, bytes: Uint8Array): boolean };
  readonly #isWritable: (offset: number, sizeBytes: number) => boolean;

  /** What `backEnd` offers now. Throws BackEndError where that is too little. */
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

  /** Takes over what the configuration space is now; returns whether that is new. */
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

  /** Why a back end that is there now is not the one there was. What the driver chose is told to each anew, and may differ. */
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
