// A guest with a vsock device, packet by packet: what its driver sends, and what it finds in its receive buffers.
import { newHeader, type PacketHeader } from '../../src/devices/vsock/packet-header.ts';
import { HEADER, HEADER_BYTES } from '../../src/devices/vsock/spec.ts';
import { VsockDevice } from '../../src/devices/vsock/vsock-device.ts';
import { VsockHost } from '../../src/ports/vsock-host.ts';
import { DeviceLoopback, type DeviceLoopbackOptions } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';

export const CID = 3;

export interface Packet extends PacketHeader {
  readonly data: Uint8Array;
}

/** The bytes of a packet of the guest's; its `len` is that of the data. */
export function packetOf(fields: Partial<PacketHeader>, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const header = {
    ...newHeader(),
    ...{ srcCid: CID, dstCid: 2, srcPort: 1000, dstPort: 1234, len: data.length, type: 1, bufAlloc: 65536 },
    ...fields,
  };
  const bytes = new Uint8Array(HEADER_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(HEADER.src_cid, BigInt(header.srcCid), true);
  view.setBigUint64(HEADER.dst_cid, BigInt(header.dstCid), true);
  view.setUint32(HEADER.src_port, header.srcPort, true);
  view.setUint32(HEADER.dst_port, header.dstPort, true);
  view.setUint32(HEADER.len, header.len, true);
  view.setUint16(HEADER.type, header.type, true);
  view.setUint16(HEADER.op, header.op, true);
  view.setUint32(HEADER.flags, header.flags, true);
  view.setUint32(HEADER.buf_alloc, header.bufAlloc, true);
  view.setUint32(HEADER.fwd_cnt, header.fwdCnt, true);
  bytes.set(data, HEADER_BYTES);
  return bytes;
}

export function parsePacket(bytes: Uint8Array): Packet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    srcCid: Number(view.getBigUint64(HEADER.src_cid, true)),
    dstCid: Number(view.getBigUint64(HEADER.dst_cid, true)),
    srcPort: view.getUint32(HEADER.src_port, true),
    dstPort: view.getUint32(HEADER.dst_port, true),
    len: view.getUint32(HEADER.len, true),
    type: view.getUint16(HEADER.type, true),
    op: view.getUint16(HEADER.op, true),
    flags: view.getUint32(HEADER.flags, true),
    bufAlloc: view.getUint32(HEADER.buf_alloc, true),
    fwdCnt: view.getUint32(HEADER.fwd_cnt, true),
    data: bytes.slice(HEADER_BYTES),
  };
}

export interface VsockGuest extends AsyncDisposable {
  readonly host: VsockHost;
  readonly device: VsockDevice;
  readonly loop: DeviceLoopback;
  readonly rxq: LoopbackQueue;
  readonly txq: LoopbackQueue;
  readonly eventq: LoopbackQueue;
  /** Places so many receive buffers. */
  offer(count: number, length?: number): void;
  /** Sends one packet, and waits until the buffer came back. */
  send(fields: Partial<PacketHeader>, data?: Uint8Array): Promise<void>;
  /** Waits for the next packet of the host. A buffer is placed for it. */
  next(): Promise<Packet>;
}

export async function bootVsock(
  options: DeviceLoopbackOptions = {},
  host: VsockHost = new VsockHost(),
): Promise<VsockGuest> {
  const device = new VsockDevice({ cid: CID, port: host });
  const loop = await DeviceLoopback.start(device, { size: 64, memoryBytes: 1 << 24, ...options });
  const [rxq, txq, eventq] = loop.queues as [LoopbackQueue, LoopbackQueue, LoopbackQueue];
  const ready: Packet[] = [];
  const offer = (count: number, length = 4096): void => {
    for (let i = 0; i < count; i++) rxq.add({ writable: [length] });
    rxq.kick();
  };
  return {
    ...{ host, device, loop, rxq, txq, eventq, offer },
    send: async (fields, data) => {
      await txq.request({ readable: [packetOf(fields, data)] });
    },
    async next() {
      if (ready.length === 0) {
        if (rxq.inFlight === 0) offer(1);
        for (const { bytes, written } of await rxq.used()) ready.push(parsePacket(bytes.subarray(0, written)));
      }
      return ready.shift() as Packet;
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}
