// A hostile driver of a socket device, by seed: any header, any order, buffers in any direction and of any length.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONNECTIONS_MAX } from '../../src/devices/vsock/connection-table.ts';
import type { PacketHeader } from '../../src/devices/vsock/packet-header.ts';
import { HEADER_BYTES } from '../../src/devices/vsock/spec.ts';
import { VsockDevice } from '../../src/devices/vsock/vsock-device.ts';
import { VsockHost } from '../../src/ports/vsock-host.ts';
import type { VsockSocket } from '../../src/ports/vsock-socket.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { packetOf, parsePacket } from '../reference/vsock-guest.ts';

const SECONDS_EACH = 4;
const STEPS = 120;
const RING = 8;
const LENGTHS = [0, 1, 43, 44, 45, 100, 4096, 65_536, 66_000];
const WORDS = [0, 1, 2, 44, 4096, 65_536, 262_144, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** A packet that is often nearly right. */
function randomPacket(random: SeededRandom, hostPorts: readonly number[]): Uint8Array {
  const fields: Partial<PacketHeader> = {
    op: random.oneIn(10) ? random.below(0x10000) : random.of([1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 6, 7]),
    type: random.oneIn(10) ? random.below(4) : 1 + random.below(2),
    srcPort: random.below(4),
    dstPort: random.of([1, 1, 2, ...hostPorts]),
    flags: random.below(4),
    ...(random.oneIn(3) && { bufAlloc: random.of(WORDS) }),
    ...(random.oneIn(10) && { fwdCnt: random.of(WORDS) }),
    ...(random.oneIn(20) && { srcCid: random.of([0, 2, 4, 2 ** 40]) }),
    ...(random.oneIn(20) && { dstCid: random.of([0, 1, 3, 2 ** 40]) }),
    ...(random.oneIn(10) && { len: random.of(WORDS) }),
  };
  const packet = packetOf(fields, new Uint8Array(random.of([0, 1, 10, 1000, 30_000])));
  return random.oneIn(12) ? packet.subarray(0, random.below(packet.length)) : packet;
}

/** A host that echoes, writes, ends and destroys, as it likes. */
function misbehave(socket: VsockSocket, random: SeededRandom): void {
  socket.on('error', () => {});
  const what = random.below(7);
  if (what < 2) socket.pipe(socket);
  else if (what === 2) socket.resume().end('bye');
  else if (what === 3) socket.write(new Uint8Array(100_000));
  else if (what === 4) socket.destroy();
  else if (what === 5) socket.destroy(new Error('no'));
  else throw new Error('a listener of the user’s');
}

/** One driver, from start to end. Returns how many chains came back. */
async function round(random: SeededRandom): Promise<number> {
  const port = new VsockHost();
  for (const type of ['stream', 'seqpacket'] as const)
    for (const number of [1, 2]) port.listen(number, (socket) => misbehave(socket, random), { type });
  const device = new VsockDevice({ cid: 3, port });
  const features = (device.features | (1n << 32n) | (3n << 28n)) & ~(1n << BigInt(random.below(12)));
  const loop = await DeviceLoopback.start(device, { features, size: RING, memoryBytes: 1 << 24 });
  await using _loop = loop;
  const hostPorts: number[] = [];
  let returned = 0;
  for (let i = 0; i < STEPS; i++) {
    const queue = random.of(loop.queues) as LoopbackQueue;
    const action = random.below(10);
    if (action < 7 && queue.inFlight < RING / 2) {
      const isTransmit = (queue.index === 1) !== random.oneIn(10);
      if (isTransmit) queue.add({ readable: [randomPacket(random, hostPorts)], indirectFrom: 0 });
      else queue.add({ writable: [random.of(LENGTHS), random.of(LENGTHS)], indirectFrom: 0 });
      queue.kick();
    } else if (action === 7) {
      port.connect(random.below(3), { type: random.of(['stream', 'seqpacket']) }).then(
        (socket) => socket.on('error', () => {}).end('x'),
        () => {},
      );
    } else if (action === 8 && random.oneIn(4)) {
      await loop.pause();
      await loop.resume();
    } else await new Promise((turn) => setImmediate(turn));
    for (const { bytes, written } of queue.harvest()) {
      assert.ok(written <= bytes.length, 'more written than there is room for');
      if (queue.index === 0 && written > 0) {
        const { len, op, srcPort } = parsePacket(bytes);
        assert.equal(written, HEADER_BYTES + len);
        if (op === 1) hostPorts.push(srcPort);
      }
      returned++;
    }
    assert.ok(device.connections <= CONNECTIONS_MAX);
  }
  for (const queue of loop.queues) assert.equal(queue.isBroken, false, loop.lines.join('\n'));
  // Whatever it did, the next driver is served.
  await loop.reset(1n << 32n);
  assert.equal(device.connections, 0);
  port.listen(9, (socket) => socket.on('error', () => {}));
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  const answer = receiveq.request({ writable: [100] });
  await transmitq.request({ readable: [packetOf({ op: 1, dstPort: 9 })] });
  assert.equal(parsePacket((await answer).bytes).op, 2);
  return returned;
}

for (const [name, first] of [
  ['known', 1],
  ['fresh', Math.floor(Math.random() * 2 ** 40)],
] as const) {
  test(`no driver of a socket device makes it throw, hang or stray (${name} seeds)`, async () => {
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
