// A hostile driver of a console, by seed: buffers in any direction and of any length on every queue, any control message;
// ports that come, go, open and close meanwhile.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleDevice } from '../../src/devices/console/console-device.ts';
import type { ConsolePort } from '../../src/devices/console/console-port.ts';
import { CONTROL_RECEIVEQ, CONTROL_TRANSMITQ, EVENT } from '../../src/devices/console/spec.ts';
import type { ChainPieces } from '../../src/testing/chain-driver.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { controlBytes } from '../reference/console-guest.ts';

const SECONDS_EACH = 4;
const STEPS = 120;
const PORTS = 4;
const RING = 8;
const LENGTHS = [0, 1, 7, 8, 9, 12, 13, 64, 4096, 20_000, 70_000];
/** Lines of one round: each is about one message or one buffer of it. */
const LINES_MAX = 4 * STEPS;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function randomControl(random: SeededRandom): Uint8Array {
  if (random.oneIn(6)) return new Uint8Array(random.of(LENGTHS)).fill(random.below(256));
  const id = random.oneIn(8) ? random.of([PORTS, 0xff, 0xffffffff]) : random.below(PORTS);
  const event = random.of([...Object.values(EVENT), EVENT.PORT_READY, EVENT.PORT_OPEN, 8, 0xffff]);
  return controlBytes(id, event, random.of([0, 1, 1, 1, 2, 0xffff]));
}

function randomChain(index: number, random: SeededRandom): ChainPieces {
  const isReceive = index % 2 === 0;
  const sizes = Array.from({ length: 1 + random.below(3) }, () => random.of(LENGTHS));
  if (isReceive !== random.oneIn(8)) return { writable: sizes };
  const bytes = index === CONTROL_TRANSMITQ ? [randomControl(random)] : sizes.map((size) => new Uint8Array(size));
  return { readable: bytes, ...(random.oneIn(8) && { writable: sizes }) };
}

/** The other side of the device: a user who plugs, unplugs, types and resizes. */
async function act(device: ConsoleDevice, random: SeededRandom): Promise<void> {
  const port = random.of(device.ports) as ConsolePort | undefined;
  const action = random.below(6);
  if (action === 0 && device.ports.filter(({ id }) => id > 0).length < PORTS - 1) {
    const isConsole = random.flip();
    const output = random.flip() ? (): void => {} : turn;
    device.addPort({ isConsole, output, ...(isConsole && { size: { cols: 1, rows: 1 } }) });
  } else if (action === 1 && random.oneIn(3)) await port?.remove();
  else if (action === 2) port?.setOpen(random.flip());
  else if (action === 3 && port?.size !== undefined) port.resize({ cols: random.below(200), rows: 1 });
  else void port?.push(new Uint8Array(random.of(LENGTHS)).fill(0x41));
}

/** One driver, from start to end. Returns how many chains came back. */
async function round(random: SeededRandom): Promise<number> {
  const output = random.flip() ? (): void => {} : turn;
  const device = new ConsoleDevice({
    output,
    size: { cols: 80, rows: 25 },
    ports: [{ name: 'agent' }],
    maxPorts: PORTS,
  });
  const features = (device.features | (1n << 32n) | (3n << 28n)) & ~(random.oneIn(6) ? 2n : 0n);
  await using loop = await DeviceLoopback.start(device, {
    ...{ features, size: RING, memoryBytes: 1 << 23, start: random.of([0, 0xfffc]) },
  });
  let returned = 0;
  for (let i = 0; i < STEPS; i++) {
    const queue = random.of(loop.queues) as LoopbackQueue;
    const action = random.below(10);
    if (action < 6 && queue.inFlight < RING / 2) {
      queue.add({ ...randomChain(queue.index, random), indirectFrom: 0 });
      queue.kick();
    } else if (action < 8) await act(device, random);
    else if (action === 8 && random.oneIn(4)) {
      await loop.pause();
      await loop.resume();
    } else if (random.oneIn(6))
      await loop.writeConfig(random.below(14), new Uint8Array(1 + random.below(8)).fill(0x21));
    else await turn();
    for (const { bytes, written } of queue.harvest()) {
      assert.ok(written <= bytes.length, 'more written than there is room for');
      returned++;
    }
  }
  for (const queue of loop.queues) assert.equal(queue.isBroken, false, loop.lines.join('\n'));
  assert.ok(loop.lines.length < LINES_MAX, `${loop.lines.length} lines`);
  await servesNext(device, loop);
  return returned;
}

/** Whatever the driver did, the next one is told of the ports, and has its bytes both ways. */
async function servesNext(device: ConsoleDevice, loop: DeviceLoopback): Promise<void> {
  await loop.reset();
  for (const port of device.ports) await port.remove();
  const port = device.addPort({ name: 'last' });
  const [, , control, say] = loop.queues as LoopbackQueue[];
  assert.deepEqual([control?.index, say?.index], [CONTROL_RECEIVEQ, CONTROL_TRANSMITQ]);
  const added = control?.request({ writable: [8] });
  for (const [id, event] of [
    [0, EVENT.DEVICE_READY],
    [port.id, EVENT.PORT_READY],
    [port.id, EVENT.PORT_OPEN],
  ] as const)
    await say?.request({ readable: [controlBytes(id, event, 1)] });
  assert.equal((await added)?.bytes[4], EVENT.DEVICE_ADD);
  const [receive, transmit] = loop.queues.slice(2 * port.id + 2) as [LoopbackQueue, LoopbackQueue];
  const received = receive.request({ writable: [100] });
  await port.push('hello');
  assert.equal((await received).written, 5);
  await transmit.request({ readable: [new Uint8Array(72)] });
}

for (const [name, first] of [
  ['known', 1],
  ['fresh', Math.floor(Math.random() * 2 ** 40)],
] as const) {
  test(`no driver of a console makes it throw, hang, stray or grow (${name} seeds)`, async () => {
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
