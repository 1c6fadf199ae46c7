// hvisor: one device on the bridge: the registers of virtio-mmio in a window, and an interrupt that is not lost.
import type { Log } from '../../virtio/log.ts';
import { MmioRegister } from '../bus/mmio/spec.ts';
import { VirtioMmio } from '../bus/mmio/virtio-mmio.ts';
import type { Registers } from '../bus/registers.ts';
import type { Transport } from '../bus/transport.ts';
import type { DeviceHost } from '../queue/queue-host.ts';
import type { Bridge } from './bridge.ts';
import { BridgeInterrupt } from './bridge-interrupt.ts';

export interface VirtioHvisorOptions {
  /** The device, and what runs its queues in the zone's memory. */
  readonly host: DeviceHost;
  readonly zone: number;
  /** Guest physical address and size of the window. */
  readonly address: number;
  readonly sizeBytes: number;
  /** The interrupt's number in the zone. */
  readonly irq: number;
  readonly log: Log;
}

/** hvisor has no ioeventfd: a kick is a request on the page, which rings the queue's doorbell. */
const doorbells = { assign: () => ({ [Symbol.dispose]: () => {} }) };

/** One device of a zone. */
export class VirtioHvisor implements Transport, Registers {
  readonly #mmio: VirtioMmio;
  readonly #interrupt: BridgeInterrupt;
  readonly #attached: Disposable;

  /** Throws RangeError where the window overlaps another device of the zone. */
  constructor(bridge: Bridge, { host, zone, address, sizeBytes, irq, log }: VirtioHvisorOptions) {
    const { loop } = bridge;
    this.#attached = bridge.attach({ zone, address, sizeBytes, registers: this });
    this.#interrupt = new BridgeInterrupt({
      loop,
      inject: () => bridge.inject(zone, irq),
      repeated: () => bridge.counters.repeated++,
    });
    this.#mmio = new VirtioMmio({ host, loop, log, doorbells, address, interrupt: this.#interrupt });
  }

  get registers() {
    return this.#mmio.registers;
  }

  read(offset: number, sizeBytes: number): number {
    return this.#mmio.read(offset, sizeBytes);
  }

  write(offset: number, sizeBytes: number, value: number): void | Promise<void> {
    const settles = offset === MmioRegister.InterruptACK || (offset === MmioRegister.Status && value === 0);
    if (settles) this.#interrupt.settled();
    return this.#mmio.write(offset, sizeBytes, value);
  }

  async close(): Promise<void> {
    await this.#mmio.close();
    this.#attached[Symbol.dispose]();
  }
}
