// bench/threads: another design on purpose: a defect of many drain loops, no last look at the ring after `rearm`.
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
    // Requests that become available between the last pop of `process` and `rearm` have no kick, and are not seen.
    const runnable = queue as RunnableQueue;
    runnable.suppress();
    this.#device.process(index, queue);
    runnable.rearm();
  }
}
