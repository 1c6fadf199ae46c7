// test/reference: the driver of a network card on a loopback, and a port that records and injects.
import type { NetDeviceOptions } from '../../src/devices/net/net-config.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import type { NetPort } from '../../src/devices/net/net-port.ts';
import { CONTROLQ, HEADER_BYTES, RECEIVEQ, TRANSMITQ } from '../../src/devices/net/spec.ts';
import type { UsedChain } from '../../src/testing/chain-driver.ts';
import { DeviceLoopback, type DeviceLoopbackOptions } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';

/** A frame and its header. */
export interface Packet {
  readonly frame: Uint8Array;
  readonly header: Uint8Array;
}

/** Keeps what it is sent. */
export class RecordingPort implements NetPort {
  readonly offloads: bigint;
  onFrame: NetPort['onFrame'];
  onLink: NetPort['onLink'];
  readonly sent: Packet[] = [];
  readonly started: bigint[] = [];
  resumed = 0;
  isClosed = false;

  constructor(offloads = 0n) {
    this.offloads = offloads;
  }

  send(frame: Uint8Array, header: Uint8Array): void {
    this.sent.push({ frame: frame.slice(), header: header.slice() });
  }

  resume(): void {
    this.resumed++;
  }

  start(accepted: bigint): void {
    this.started.push(accepted);
  }

  close(): void {
    this.isClosed = true;
  }
}

export interface NetGuest extends AsyncDisposable {
  readonly device: NetDevice;
  readonly port: RecordingPort;
  readonly loop: DeviceLoopback;
  readonly receiveq: LoopbackQueue;
  readonly transmitq: LoopbackQueue;
  readonly controlq: LoopbackQueue;
  /** Places receive buffers of so many bytes each. */
  offer(...lengths: readonly number[]): void;
  /** Sends one packet, and waits until it came back. */
  transmit(frame: Uint8Array, header?: Uint8Array): Promise<UsedChain>;
  /** The driver sends a command. Returns the byte of `ack`. */
  command(commandClass: number, command: number, data?: readonly number[]): Promise<number>;
  /** Passes a frame from the port, and returns what `onFrame` does. */
  inject(frame: Uint8Array, header?: Uint8Array): boolean;
  /** Waits for one packet of the guest's ring, over as many buffers as it says. */
  received(): Promise<Packet>;
}

export async function bootNet(
  options: Partial<NetDeviceOptions> & { readonly offloads?: bigint } = {},
  driver: DeviceLoopbackOptions = {},
): Promise<NetGuest> {
  const port = new RecordingPort(options.offloads);
  const device = new NetDevice({ port, ...options });
  const loop = await DeviceLoopback.start(device, { size: 64, ...driver });
  const queues = loop.queues as readonly LoopbackQueue[];
  const [receiveq, transmitq, controlq] = [RECEIVEQ, TRANSMITQ, CONTROLQ].map((i) => queues[i]) as [
    LoopbackQueue,
    LoopbackQueue,
    LoopbackQueue,
  ];
  const ready: UsedChain[] = [];
  return {
    ...{ device, port, loop, receiveq, transmitq, controlq },
    offer(...lengths) {
      for (const length of lengths) receiveq.add({ writable: [length] });
      receiveq.kick();
    },
    transmit: (frame, header = new Uint8Array(HEADER_BYTES)) => transmitq.request({ readable: [header, frame] }),
    async command(commandClass, command, data = []) {
      const readable = [Uint8Array.of(commandClass, command), Uint8Array.from(data)];
      return (await controlq.request({ readable, writable: [1] })).bytes[0] as number;
    },
    inject: (frame, header) => port.onFrame?.(frame, header) as boolean,
    async received() {
      if (ready.length === 0) ready.push(...(await receiveq.used()));
      const [first] = ready as [UsedChain];
      const count = new DataView(first.bytes.buffer).getUint16(10, true);
      while (ready.length < count) ready.push(...(await receiveq.used()));
      const bytes = ready.splice(0, count).flatMap((used) => [...used.bytes.subarray(0, used.written)]);
      return {
        header: Uint8Array.from(bytes.slice(0, HEADER_BYTES)),
        frame: Uint8Array.from(bytes.slice(HEADER_BYTES)),
      };
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

const OUR_MAC = [0x52, 0x54, 0, 0, 0, 1];
export const MAC = '52:54:00:00:00:01';

/** A frame of `length` bytes: to, from, a type for experiments, and bytes that count. */
export function frameOf(
  length = 60,
  { to = OUR_MAC, from = [0x52, 0x54, 0, 0, 0, 2], type = [0x88, 0xb5] } = {},
): Uint8Array<ArrayBuffer> {
  const frame = Uint8Array.from({ length }, (_, i) => i);
  frame.set([...to, ...from, ...type].slice(0, length));
  return frame;
}

export interface HeaderFields {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly hdrLen?: number;
  readonly gsoSize?: number;
  readonly csumStart?: number;
  readonly csumOffset?: number;
  readonly numBuffers?: number;
}

/** A struct virtio_net_hdr. */
export function headerOf(fields: HeaderFields): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  view.setUint8(0, fields.flags ?? 0);
  view.setUint8(1, fields.gsoType ?? 0);
  const words = [fields.hdrLen, fields.gsoSize, fields.csumStart, fields.csumOffset, fields.numBuffers];
  words.forEach((word = 0, i) => {
    view.setUint16(2 + 2 * i, word, true);
  });
  return new Uint8Array(view.buffer);
}
