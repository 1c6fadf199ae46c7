// test/spec: a console behind a transport under test, and the driver that finds it there.
import assert from 'node:assert/strict';
import { ConsoleDevice, type ConsoleDeviceOptions } from '../../src/devices/console/console-device.ts';
import { RECEIVEQ, TRANSMITQ } from '../../src/devices/console/spec.ts';
import { ChainDriver } from '../../src/testing/chain-driver.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import type { TransportDriver } from '../../src/testing/transport-driver.ts';

const QUEUE_SIZE = 16;
const BUFFER_BYTES = 64;
/** Receive buffers that the driver keeps in the ring. */
const BUFFERS = 4;

/** The driver of a console: it keeps the receive queue filled, and puts together what it reads. */
export class ConsoleDriver {
  readonly receive: ChainDriver;
  readonly transmit: ChainDriver;
  readonly #kick: (queue: number) => void;
  #read = '';

  constructor(receive: ChainDriver, transmit: ChainDriver, kick: (queue: number) => void) {
    this.receive = receive;
    this.transmit = transmit;
    this.#kick = kick;
  }

  /** Places buffers until there are enough. */
  refill(): void {
    while (this.receive.inFlight < BUFFERS) this.receive.add({ writable: [BUFFER_BYTES] });
    this.#publish(RECEIVEQ, this.receive);
  }

  /** What has come, without waiting. */
  look(): string {
    for (const { bytes, written } of this.receive.harvest())
      this.#read += new TextDecoder().decode(bytes.subarray(0, written));
    this.refill();
    return this.#read;
  }

  /** Waits until this, and nothing else, has come since the last time. */
  async reads(expected: string): Promise<void> {
    await eventually(`${expected.length} bytes of input`, () => this.look().length >= expected.length);
    assert.equal(this.#read, expected);
    this.#read = '';
  }

  /** Puts text into the transmit queue. */
  submit(text: string): void {
    this.transmit.add({ readable: [new TextEncoder().encode(text)] });
    this.#publish(TRANSMITQ, this.transmit);
  }

  /** Waits until everything submitted has come back. */
  async written(): Promise<void> {
    await eventually('the output to come back', () => {
      this.transmit.harvest();
      return this.transmit.inFlight === 0;
    });
  }

  #publish(index: number, { queue }: ChainDriver): void {
    queue.publish();
    if (queue.needsKick()) this.#kick(index);
  }
}

export interface DrivenConsole<Driver> extends AsyncDisposable {
  readonly device: ConsoleDevice;
  /** What the guest wrote. */
  readonly output: string[];
  readonly driver: Driver;
  readonly guest: RawGuest;
  /** Has both queues run, as a driver that begins. */
  run(): Promise<ConsoleDriver>;
}

export function driveConsole<Driver extends TransportDriver>(
  driverOf: (device: ConsoleDevice, guest: RawGuest) => Driver,
  options: Partial<ConsoleDeviceOptions> = {},
): DrivenConsole<Driver> {
  const output: string[] = [];
  const sink = (bytes: Uint8Array): unknown => output.push(new TextDecoder().decode(bytes));
  const device = new ConsoleDevice({ output: sink, size: { cols: 80, rows: 25 }, ...options });
  const guest = new RawGuest();
  const driver = driverOf(device, guest);
  return {
    device,
    output,
    driver,
    guest,
    async run() {
      await driver.reset();
      const features = await driver.offered();
      assert.ok(await driver.accept(features));
      const chains: ChainDriver[] = [];
      for (const index of [RECEIVEQ, TRANSMITQ]) {
        const ring = new DriverQueue(guest.memory, { size: QUEUE_SIZE, features });
        assert.ok(await driver.setUp(index, QUEUE_SIZE, ring.addresses));
        chains.push(new ChainDriver(guest.memory, ring));
      }
      await driver.start();
      const [receive, transmit] = chains as [ChainDriver, ChainDriver];
      const console = new ConsoleDriver(receive, transmit, (queue) => driver.kick(queue));
      console.refill();
      return console;
    },
    async [Symbol.asyncDispose]() {
      await driver[Symbol.asyncDispose]();
      guest[Symbol.dispose]();
    },
  };
}
