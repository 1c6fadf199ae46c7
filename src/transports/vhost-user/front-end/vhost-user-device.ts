// Ground floor: a device that somebody else is: what its driver sees of one that lives behind a vhost-user socket.
import type { VirtioDevice } from '../../../virtio/device.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../virtio/spec.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import type { BackEnd } from './back-end.ts';

/** "0 to 23, and 50 to 127: feature bits for the specific device type", §2.2. The others are ours and the ring's. */
const DEVICE_FEATURES = ((1n << 24n) - 1n) | (((1n << 14n) - 1n) << 50n);
/** What a ring of ours takes for granted. */
const RING_FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
/** Every back end takes this: it is what QEMU asks for. There is no message to find out more. */
const QUEUE_SIZE_MAX = 128;

export interface VhostUserDeviceOptions {
  readonly type: number;
  /** Whether a driver that accepted `features` may write `sizeBytes` at `offset` of the configuration space. Nowhere unless said. */
  readonly isWritable?: (offset: number, sizeBytes: number, features: bigint) => boolean;
}

export class VhostUserDevice implements VirtioDevice {
  readonly type: number;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  onConfigChange: (() => void) | undefined;
  readonly #isWritable: VhostUserDeviceOptions['isWritable'];
  #config: Uint8Array;
  #accepted = 0n;

  /** What `backEnd` offers now. Throws BackEndError where that is too little. */
  constructor(backEnd: BackEnd, options: VhostUserDeviceOptions) {
    const { offeredFeatures, queueCount } = backEnd.dialogue;
    const missing = RING_FEATURES & ~offeredFeatures;
    if (missing !== 0n)
      throw new BackEndError(
        'GET_FEATURES',
        `does not offer the feature bits 0x${missing.toString(16)}, which are needed`,
      );
    this.type = options.type;
    this.features = offeredFeatures & DEVICE_FEATURES;
    this.queueSizes = Array.from({ length: queueCount ?? 1 }, () => QUEUE_SIZE_MAX);
    this.#isWritable = options.isWritable;
    this.#config = backEnd.config.slice();
  }

  get config(): Uint8Array {
    return this.#config;
  }

  /** What the configuration space is now. The driver is told if that is new. */
  update(config: Uint8Array): void {
    if (config.every((byte, i) => byte === this.#config[i])) return;
    this.#config = config.slice();
    this.onConfigChange?.();
  }

  /** Why a back end that is there now is not the one there was. */
  difference(backEnd: BackEnd): string | undefined {
    const { offeredFeatures, queueCount } = backEnd.dialogue;
    const missing = (this.features | RING_FEATURES) & ~offeredFeatures;
    if (missing !== 0n) return `it no longer offers the feature bits 0x${missing.toString(16)}`;
    if ((queueCount ?? 1) < this.queueSizes.length)
      return `it has ${queueCount ?? 1} queues, there were ${this.queueSizes.length}`;
    const at = backEnd.config.findIndex((byte, i) => byte !== this.#config[i] && !this.#mayDiffer(i));
    return at < 0 ? undefined : `its configuration space is another one from byte ${at} on`;
  }

  /** What the driver chose is told to each back end anew. */
  #mayDiffer(offset: number): boolean {
    return this.#isWritable?.(offset, 1, this.#accepted) ?? false;
  }

  process(): never {
    throw new Error('the queues of this device run in its back end');
  }

  activate(features: bigint): void {
    this.#accepted = features;
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    if (this.#isWritable?.(offset, bytes.length, this.#accepted) !== true) return false;
    this.#config.set(bytes, offset);
    return true;
  }
}
