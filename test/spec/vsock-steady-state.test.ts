// In steady state a packet costs the heap nothing but the views of its bytes, and no promise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapStatistics } from 'node:v8';
import { HEADER_BYTES, RXQ, TXQ } from '../../src/devices/vsock/spec.ts';
import { VsockDevice } from '../../src/devices/vsock/vsock-device.ts';
import type { VsockConnection } from '../../src/devices/vsock/vsock-port.ts';
import { DriverMemory } from '../../src/testing/driver-memory.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import type { DeviceContext } from '../../src/virtio/device.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { splitFormat } from '../../src/virtio/split/split-format.ts';
import { packetOf } from '../reference/vsock-guest.ts';

const BATCH = 32;
const PACKETS = 100 * BATCH;
const LENGTH = 1024;
/** Rounds until the compiler has settled; the first that is good enough ends it. */
const ROUNDS_MAX = 200;
/** Numbers of more than 31 bits, which ports and counts are, may be objects; and what a batch and the measurement cost. */
const SLACK_BYTES = 120;

function allocated(run: () => void): number {
  const before = getHeapStatistics().total_allocated_bytes;
  run();
  return (getHeapStatistics().total_allocated_bytes - before) / PACKETS;
}

function packetsOf(index: number): { readonly run: () => void; readonly moved: () => number } {
  const memory = new DriverMemory(new Uint8Array(1 << 20));
  let connection: VsockConnection | undefined;
  const endpoint = {
    receive: (bytes: Uint8Array) => bytes.length,
    read: (into: Uint8Array) => Math.min(into.length, LENGTH),
    ended() {},
    closed: (why?: string) => assert.fail(why),
  };
  const port = {
    accept(asked: VsockConnection) {
      connection = asked;
      return endpoint;
    },
  };
  const device = new VsockDevice({ cid: 3, port });
  device.attach({ soon() {}, timer: () => ({ [Symbol.dispose]() {} }) } as unknown as DeviceContext);
  device.start(device.features | VIRTIO_F_EVENT_IDX);
  const open = (queue: number) => {
    const driver = new DriverQueue(memory, { size: 64, features: VIRTIO_F_EVENT_IDX });
    const options = { features: VIRTIO_F_EVENT_IDX, notify() {}, again() {} };
    const ours = splitFormat.open(64, driver.layout, new GuestMemory([memory]), options);
    device.queueStarted(queue, ours);
    return { driver, ours };
  };
  const { driver: rx, ours: rxq } = open(RXQ);
  const { driver: tx, ours: txq } = open(TXQ);
  const onUsed = (): void => {};
  const place = (bytes: Uint8Array): { address: number; length: number; writable: boolean } => {
    const address = memory.allocate(bytes.length);
    memory.bytes.set(bytes, address);
    return { address, length: bytes.length, writable: false };
  };
  const buffers = Array.from({ length: BATCH }, () => [
    { address: memory.allocate(HEADER_BYTES + LENGTH), length: HEADER_BYTES + LENGTH, writable: true },
  ]);
  const packet = [place(packetOf({ op: 5 }, new Uint8Array(LENGTH)))];
  const update = packetOf({ op: 6, bufAlloc: 0x7fff_ffff });
  const updateAt = place(update);
  const words = new DataView(memory.bytes.buffer, memory.bytes.byteOffset);
  const exchange = (chain: { address: number; length: number; writable: boolean }[]): void => {
    tx.add(chain);
    tx.publish();
    device.process(TXQ);
    txq.publish();
    tx.harvest(onUsed);
    tx.requestCalls();
  };
  rx.add(buffers[0] as (typeof buffers)[0]);
  rx.publish();
  exchange([place(packetOf({ op: 1, bufAlloc: 0x7fff_ffff }))]);
  device.process(RXQ);
  rxq.publish();
  rx.harvest(onUsed);
  const receive = (): void => {
    for (let done = 0; done < PACKETS; done += BATCH) {
      // The guest has taken everything.
      words.setUint32(updateAt.address + 40, device.bytes.sent >>> 0, true);
      exchange([updateAt]);
      for (const buffer of buffers) rx.add(buffer);
      rx.publish();
      connection?.ready();
      device.process(RXQ);
      rxq.publish();
      rx.harvest(onUsed);
      rx.requestCalls();
    }
  };
  let rounds = 0;
  const transmit = (): void => {
    for (let done = 0; done < PACKETS; done += BATCH) {
      for (let i = 0; i < BATCH; i++) tx.add(packet);
      tx.publish();
      device.process(TXQ);
      txq.publish();
      tx.harvest(onUsed);
      tx.requestCalls();
      if (++rounds % 4 !== 0) continue;
      rx.add(buffers[0] as (typeof buffers)[0]);
      rx.publish();
      device.process(RXQ);
      rxq.publish();
      rx.harvest(onUsed);
      rx.requestCalls();
    }
  };
  return { run: index === RXQ ? receive : transmit, moved: () => device.bytes.sent + device.bytes.received };
}

for (const [name, index, views] of [
  ['a packet of the guest', TXQ, 1],
  ['a packet for the guest', RXQ, 2],
] as const) {
  test(`${name} allocates ${views === 1 ? 'one view' : 'two views'} and nothing else`, () => {
    const bytes = new Uint8Array(1 << 12);
    const keep: unknown[] = [undefined];
    const { run, moved } = packetsOf(index);
    const least = { packet: Number.POSITIVE_INFINITY, view: Number.POSITIVE_INFINITY };
    let rounds = 0;
    while (rounds++ < ROUNDS_MAX) {
      const view = (): void => {
        for (let i = 0; i < PACKETS; i++) keep[0] = new Uint8Array(bytes.buffer, i % 64, 64);
      };
      least.view = Math.min(least.view, allocated(view));
      least.packet = Math.min(least.packet, allocated(run));
      if (rounds > 10 && least.packet < views * least.view + SLACK_BYTES) break;
    }
    const said = `${least.packet.toFixed(1)} bytes a packet, ${least.view.toFixed(1)} a view`;
    console.log(said);
    assert.ok(least.packet < views * least.view + SLACK_BYTES, said);
    assert.ok(moved() >= PACKETS * LENGTH);
  });
}
