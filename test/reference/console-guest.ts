// test/reference: the driver of a console with several ports, as Linux has it, on a DeviceLoopback.
import { ConsoleDevice, type ConsoleDeviceOptions } from '../../src/devices/console/console-device.ts';
import {
  CONTROL_BYTES,
  CONTROL_RECEIVEQ,
  CONTROL_TRANSMITQ,
  EVENT,
  receiveQueueOf,
} from '../../src/devices/console/spec.ts';
import { DeviceLoopback, type DeviceLoopbackOptions } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import type { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import type { DeviceQueue } from '../../src/virtio/device-queue.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { Segments } from '../../src/virtio/segments.ts';

const BUFFER_BYTES = 128;
const BUFFERS = 4;
const NAMES = Object.fromEntries(Object.entries(EVENT).map(([name, event]) => [event, name]));

/** struct virtio_console_control. */
export function controlBytes(id: number, event: number, value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CONTROL_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, id, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  return bytes;
}

/** A message as text: `1 PORT_NAME 0 agent`, `0 RESIZE 0 80x25`. */
export function controlText(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const event = view.getUint16(4, true);
  const payload = bytes.subarray(CONTROL_BYTES);
  const text =
    event === EVENT.RESIZE
      ? `${view.getUint16(8, true)}x${view.getUint16(10, true)}`
      : new TextDecoder().decode(payload);
  return `${view.getUint32(0, true)} ${NAMES[event]} ${view.getUint16(6, true)} ${text}`.trimEnd();
}

/** Passes a message to a device besides its control queue, as if the driver had sent it. */
export function say(device: ConsoleDevice, id: number, event: number, value: number): void {
  const bytes = controlBytes(id, event, value);
  const readable = new Segments();
  readable.push(new GuestMemory([{ guestAddress: 0, bytes }]), 0, bytes.length);
  const chain = { head: 0, readable, writable: new Segments() } as unknown as DescriptorChain;
  const queue = { drain: (serve: (chain: DescriptorChain) => void) => serve(chain), markUsed() {} };
  device.process(CONTROL_TRANSMITQ, queue as unknown as DeviceQueue);
}

export class ConsoleGuest implements AsyncDisposable {
  readonly device: ConsoleDevice;
  readonly loop: DeviceLoopback;

  private constructor(device: ConsoleDevice, loop: DeviceLoopback) {
    this.device = device;
    this.loop = loop;
  }

  static async boot(options: ConsoleDeviceOptions, driver: DeviceLoopbackOptions = {}): Promise<ConsoleGuest> {
    const device = new ConsoleDevice(options);
    return new ConsoleGuest(device, await DeviceLoopback.start(device, driver));
  }

  #queue(index: number): LoopbackQueue {
    return this.loop.queues[index] as LoopbackQueue;
  }

  receive(port: number): LoopbackQueue {
    return this.#queue(receiveQueueOf(port));
  }

  transmit(port: number): LoopbackQueue {
    return this.#queue(receiveQueueOf(port) + 1);
  }

  get control(): LoopbackQueue {
    return this.#queue(CONTROL_RECEIVEQ);
  }

  /** Sends a control message, and waits until it was taken. */
  async say(id: number, event: number, value: number): Promise<void> {
    await this.#queue(CONTROL_TRANSMITQ).request({ readable: [controlBytes(id, event, value)] });
  }

  /** Returns the control messages that came, without waiting. */
  heard(): string[] {
    const queue = this.control;
    const heard: string[] = [];
    for (;;) {
      while (queue.inFlight < BUFFERS) queue.add({ writable: [BUFFER_BYTES] });
      queue.kick();
      const used = queue.harvest();
      if (used.length === 0) return heard;
      heard.push(...used.map(({ bytes, written }) => controlText(bytes.subarray(0, written))));
    }
  }

  /** Waits for `count` control messages. */
  async hears(count: number): Promise<string[]> {
    const heard: string[] = [];
    while (heard.length < count) {
      heard.push(...this.heard());
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    return heard;
  }

  /** Sets up ports as Linux does, without looking at what it is told. */
  async up(...ports: readonly number[]): Promise<void> {
    await this.say(0, EVENT.DEVICE_READY, 1);
    for (const port of ports) await this.say(port, EVENT.PORT_READY, 1);
  }

  async writes(port: number, text: string): Promise<void> {
    await this.transmit(port).request({ readable: [new TextEncoder().encode(text)] });
  }

  /** Offers one buffer after another until so many bytes were received. */
  async reads(port: number, count: number): Promise<string> {
    const pieces: Uint8Array[] = [];
    for (let left = count; left > 0; ) {
      const { bytes, written } = await this.receive(port).request({ writable: [left] });
      pieces.push(bytes.subarray(0, written));
      left -= written;
    }
    return Buffer.concat(pieces).toString();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.loop[Symbol.asyncDispose]();
  }
}
