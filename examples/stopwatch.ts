// A stopwatch: its configuration space counts tenths of a second, and every request restarts it.
//   ./belfry serve ./examples/stopwatch.ts --socket /tmp/stopwatch.sock
import type { DeviceContext, DeviceQueue, VirtioDevice } from 'belfry';

export class Stopwatch implements VirtioDevice {
  readonly type = 63; // a type without a driver in Linux
  readonly features = 0n;
  readonly queueSizes = [16];
  readonly config = { bytes: new Uint8Array(4) }; // le32
  readonly #count = new DataView(this.config.bytes.buffer);
  readonly #tickMs: number;
  #tick: Disposable | undefined;

  constructor(tickMs = 100) {
    this.#tickMs = tickMs;
  }

  start(features: bigint, context: DeviceContext): void {
    this.#tick?.[Symbol.dispose]();
    this.#tick = context.timer(this.#tickMs, () => {
      this.#count.setUint32(0, this.#count.getUint32(0, true) + 1, true);
      context.configChanged();
      this.start(features, context);
    });
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain((chain) => queue.markUsed(chain, 0));
    this.#count.setUint32(0, 0);
  }

  reset(): void {
    this.#tick?.[Symbol.dispose]();
    this.#count.setUint32(0, 0);
  }
}
export default () => new Stopwatch();
