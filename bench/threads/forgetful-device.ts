// bench/threads: another design on purpose: the mistake of many drain loops, which ask for kicks again without a last look at the ring.
import type { DeviceQueue, VirtioDevice } from '../../src/index.ts';
import type { RunnableQueue } from '../../src/virtio/ring-format.ts';

export class ForgetfulDevice implements VirtioDevice {
  readonly type: number;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly #device: VirtioDevice;

  constructor(device: VirtioDevice) {
    this.#device = device;
    this.type = device.type;
    this.features = device.features;
    this.queueSizes = device.queueSizes;
  }

  process(index: number, queue: DeviceQueue): void {
    // What a driver makes available between the last look of `process` and `rearm` has no kick, and is not seen.
    const runnable = queue as RunnableQueue;
    runnable.suppress();
    this.#device.process(index, queue);
    runnable.rearm();
  }
}
