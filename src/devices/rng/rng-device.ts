// First floor: virtio-rng, §5.4: the driver's buffers come back filled with random bytes.
import type { VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { VIRTIO_ID_ENTROPY } from '../../virtio/spec.ts';

/** What one request gets at most: "The device MAY fill less than the whole buffer" (§5.4.6.2), and a driver may ask for 4 GiB. */
const REQUEST_BYTES_MAX = 64 * 1024;

/** A source of entropy. `fill` overwrites bytes with random ones, at most 64 KiB at a time; Node's `crypto` unless said. */
export class RngDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_ENTROPY;
  readonly features = 0n;
  readonly queueSizes = [1024];
  readonly #fill: (bytes: Uint8Array<ArrayBuffer>) => unknown;

  constructor(fill: (bytes: Uint8Array<ArrayBuffer>) => unknown = (bytes) => crypto.getRandomValues(bytes)) {
    this.#fill = fill;
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain((chain) => {
      const length = Math.min(chain.writable.totalBytes, REQUEST_BYTES_MAX);
      for (const piece of chain.writable.range(0, length)) this.#fill(piece);
      queue.markUsed(chain, length);
    });
  }
}
