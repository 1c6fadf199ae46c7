// A hostile driver of a network card, by seed: buffers in any direction and of any length, any header, any command.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OFFLOADS } from '../../src/devices/net/net-config.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { ETHERNET_BYTES, FRAME_BYTES_MAX, HEADER_BYTES } from '../../src/devices/net/spec.ts';
import type { ChainPieces } from '../../src/testing/chain-driver.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { RecordingPort } from '../reference/net-guest.ts';

const SECONDS_EACH = 4;
const STEPS = 60;
const LENGTHS = [
  0, 1, 2, 5, 11, 12, 13, 14, 25, 26, 60, 100, 1500, 1526, 9000, 40_000, 65_589, 65_601, 66_000, 100_000,
];
const RING = 8;

/** Holds what a port was sent to what a port may be sent, and keeps nothing. */
class StrictPort extends RecordingPort {
  #accepted = 0n;

  override send(frame: Uint8Array, header: Uint8Array): void {
    assert.ok(frame.length >= ETHERNET_BYTES && frame.length <= FRAME_BYTES_MAX);
    const view = new DataView(header.buffer, header.byteOffset, HEADER_BYTES);
    const [flags, gsoType] = [view.getUint8(0), view.getUint8(1)];
    assert.ok(flags === 0 || flags === 1, `flags ${flags}`);
    if (flags === 1) {
      assert.ok(view.getUint16(6, true) + view.getUint16(8, true) + 2 <= frame.length, 'a checksum outside the frame');
      assert.ok((this.#accepted & 1n) !== 0n, 'a partial checksum that was not negotiated');
    } else assert.equal(view.getUint32(6, true), 0);
    if (gsoType === 0) return;
    assert.equal(flags, 1);
    assert.ok(view.getUint16(4, true) > 0, 'gso_size 0');
    assert.ok(view.getUint16(2, true) <= frame.length, 'hdr_len beyond the frame');
    const bit = { 1: 11n, 3: 14n, 4: 12n, 5: 56n }[gsoType & 0x7f];
    assert.ok(bit !== undefined && ((this.#accepted >> bit) & 1n) === 1n, `gso_type ${gsoType}`);
  }

  override start(accepted: bigint): void {
    this.#accepted = accepted;
  }
}

/** A header that is often nearly right. */
function randomHeader(random: SeededRandom): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  if (random.oneIn(4)) random.fill(header);
  else if (random.flip()) {
    const view = new DataView(header.buffer);
    view.setUint8(0, random.of([0, 1, 1, 1, 2, 3, 4, 0xff]));
    view.setUint8(1, random.of([0, 0, 1, 3, 4, 5, 0x81, 0x84, 0x80, 2, 6, 0x7f]));
    for (let at = 2; at < HEADER_BYTES; at += 2)
      view.setUint16(at, random.of([0, 1, 12, 16, 34, 54, 58, 59, 60, 1448, 0x7fff, 0xffff]), true);
  }
  return header;
}

function cut(bytes: Uint8Array, random: SeededRandom): Uint8Array[] {
  if (random.flip()) return [bytes];
  const at = random.below(bytes.length + 1);
  return [bytes.subarray(0, at), bytes.subarray(at)];
}

function randomChain(queue: number, random: SeededRandom): ChainPieces {
  const filled = (length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    random.fill(bytes.subarray(0, 64));
    return bytes;
  };
  const wrongWay = random.oneIn(8);
  if (queue === 0 && !wrongWay)
    return { writable: Array.from({ length: 1 + random.below(3) }, () => random.of(LENGTHS)) };
  if (queue === 1 && !wrongWay) {
    const packet = Uint8Array.of(...randomHeader(random), ...filled(Math.min(random.of(LENGTHS), 9000)));
    return { readable: cut(packet, random), ...(random.oneIn(8) && { writable: [4] }) };
  }
  const command = filled(random.of([0, 1, 2, 3, 4, 8, 10, 16, 22, 70, 5000, 100_000]));
  if (command.length > 1 && random.flip()) command.set([random.below(5), random.below(3)]);
  if (command.length > 9 && random.flip()) command.set([random.below(3), 0, 0, 0], 2);
  return { readable: cut(command, random), ...(!random.oneIn(6) && { writable: [random.below(3)] }) };
}

/** One driver, from start to end. Returns how many chains came back. */
async function round(random: SeededRandom): Promise<number> {
  const port = new StrictPort(random.flip() ? OFFLOADS : 0n);
  const device = new NetDevice({ port, ...(random.flip() && { mtu: random.of([68, 1500, 65535]) }) });
  let features = (device.features | (1n << 32n) | (3n << 28n)) & ~(1n << BigInt(random.below(24)));
  if (random.oneIn(4)) features &= ~(1n << 15n);
  const loop = await DeviceLoopback.start(device, {
    features,
    size: RING,
    memoryBytes: 1 << 23,
    start: random.of([0, 0xfffc]),
  });
  await using _loop = loop;
  let returned = 0;
  for (let i = 0; i < STEPS; i++) {
    const queue = random.of(loop.queues) as LoopbackQueue;
    const action = random.below(10);
    if (action < 5 && queue.inFlight < RING / 2) {
      queue.add({ ...randomChain(queue.index, random), indirectFrom: 0 });
      queue.kick();
    } else if (action < 8) {
      const frame = new Uint8Array(random.of([0, 13, 14, 42, 60, 60, 1514, 9000, 65_589, 70_000]));
      random.fill(frame.subarray(0, 18));
      port.onFrame?.(frame, random.flip() ? randomHeader(random) : undefined);
    } else if (action === 8 && random.oneIn(4)) {
      await loop.pause();
      await loop.resume();
    } else if (random.oneIn(8)) port.onLink?.(random.flip());
    else await new Promise((turn) => setImmediate(turn));
    for (const { bytes, written } of queue.harvest()) {
      assert.ok(written <= bytes.length, 'more written than there is room for');
      returned++;
    }
  }
  for (const queue of loop.queues) assert.equal(queue.isBroken, false, loop.lines.join('\n'));
  // Whatever it did, frames of the next driver go both ways.
  port.onLink?.(true);
  await loop.reset(1n << 32n);
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  const received = receiveq.request({ writable: [100] });
  port.onFrame?.(new Uint8Array(60));
  assert.equal((await received).written, 72);
  await transmitq.request({ readable: [new Uint8Array(72)] });
  return returned;
}

for (const [name, first] of [
  ['known', 1],
  ['fresh', Math.floor(Math.random() * 2 ** 40)],
] as const) {
  test(`no driver of a network card makes it throw, hang, stray, or send what was not checked (${name} seeds)`, async () => {
    const endMs = performance.now() + SECONDS_EACH * 1000;
    let seed: number = first;
    let chains = 0;
    for (; performance.now() < endMs; seed++) {
      try {
        chains += await round(new SeededRandom(seed));
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    console.log(`${seed - first} rounds from seed ${first}, ${chains} chains`);
    assert.ok(chains > 100);
  });
}
