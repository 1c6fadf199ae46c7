// §5.3 Console Device, clause by clause, with one port.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ConsoleDevice, type ConsoleDeviceOptions } from '../../src/devices/console/console-device.ts';
import { INPUT_BYTES_MAX } from '../../src/devices/console/console-input.ts';
import { EMERGENCY_BYTES_MAX, REQUEST_BYTES_MAX } from '../../src/devices/console/console-output.ts';
import * as spec from '../../src/devices/console/spec.ts';
import type { UsedChain } from '../../src/testing/chain-driver.ts';
import { DeviceLoopback, type DeviceLoopbackOptions } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (...pieces: Uint8Array[]): string => new TextDecoder().decode(Buffer.concat(pieces));
const inputOf = (used: readonly UsedChain[]): string =>
  textOf(...used.map(({ bytes, written }) => bytes.subarray(0, written)));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ignore = (): void => {};

interface Guest extends AsyncDisposable {
  readonly device: ConsoleDevice;
  readonly loop: DeviceLoopback;
  readonly receive: LoopbackQueue;
  readonly transmit: LoopbackQueue;
}

async function boot(options: Partial<ConsoleDeviceOptions> = {}, driver?: DeviceLoopbackOptions): Promise<Guest> {
  const device = new ConsoleDevice({ output: ignore, ...options });
  const loop = await DeviceLoopback.start(device, driver);
  const [receive, transmit] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return { device, loop, receive, transmit, [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose]() };
}

/** Places receive buffers. */
function offer(receive: LoopbackQueue, ...sizes: number[]): void {
  for (const size of sizes) receive.add({ writable: [size] });
  receive.kick();
}

suite('§5.3.1 to §5.3.5 what the device is', () => {
  test('§5.3.1 the device ID is 3', () => assert.equal(new ConsoleDevice({ output: ignore }).type, 3));

  test('§5.3.2 port 0 has a receive queue, 0, and a transmit queue, 1; without MULTIPORT there are no others', () => {
    assert.equal(new ConsoleDevice({ output: ignore }).queueSizes.length, 2);
    assert.deepEqual([spec.RECEIVEQ, spec.TRANSMITQ], [0, 1]);
  });

  test('§5.3.3 EMERG_WRITE is always offered, SIZE by a console that has one, MULTIPORT by none with one port', () => {
    const { VIRTIO_CONSOLE_F_EMERG_WRITE, VIRTIO_CONSOLE_F_SIZE } = spec;
    assert.equal(new ConsoleDevice({ output: ignore }).features, VIRTIO_CONSOLE_F_EMERG_WRITE);
    const { features } = new ConsoleDevice({ output: ignore, size: { cols: 80, rows: 25 } });
    assert.equal(features, VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_EMERG_WRITE);
  });

  test('§5.3.4 cols and rows are at their offsets in the structure; the driver writes neither', async () => {
    await using guest = await boot({ size: { cols: 0x1234, rows: 50 } });
    const config = guest.loop.config();
    assert.equal(config.byteLength, 12);
    assert.deepEqual([config.getUint16(0, true), config.getUint16(2, true)], [0x1234, 50]);
    for (const at of [0, 2, 4, 7, 9]) assert.equal(await guest.loop.writeConfig(at, new Uint8Array(2)), false);
    assert.equal(guest.loop.config().getUint16(0, true), 0x1234);
  });

  test('§5.3.4 a window that is none is refused', () => {
    for (const size of [
      { cols: 65536, rows: 1 },
      { cols: 1, rows: -1 },
      { cols: 1.5, rows: 1 },
    ])
      assert.throws(() => new ConsoleDevice({ output: ignore, size }), RangeError);
  });

  test('input and output that are none are refused in one line', () => {
    const make = (options: unknown) => () => new ConsoleDevice(options as ConsoleDeviceOptions);
    assert.throws(make({}), /output is a stream .* or a function/);
    for (const input of ['text', { fd: 0 }, { read: ignore }, 7])
      assert.throws(make({ output: ignore, input }), /input is a stream .* or \{ fd, read/);
  });

  test('both queues are on one thread', () => {
    const device = new ConsoleDevice({ output: ignore });
    assert.equal(device.threadOf(), device.threadOf());
  });
});

suite('§5.3.6 output', () => {
  test('the characters of a buffer in the transmitq reach the sink, however the driver cuts it', async () => {
    const seen: Uint8Array[] = [];
    await using guest = await boot({ output: (bytes) => seen.push(bytes) });
    for (const readable of [['hello'], ['h', '', 'ell', 'o']]) {
      const { written } = await guest.transmit.request({ readable: readable.map(bytesOf) });
      assert.equal(written, 0);
    }
    assert.deepEqual(
      seen.map((bytes) => textOf(bytes)),
      ['hello', 'hello'],
    );
  });

  test('a sink may keep what it is given: it is no guest memory', async () => {
    const seen: Uint8Array[] = [];
    await using guest = await boot({ output: (bytes) => seen.push(bytes) });
    await guest.transmit.request({ readable: [bytesOf('hello')] });
    guest.loop.memory.bytes.fill(0);
    assert.equal(textOf(...seen), 'hello');
  });

  test('a slow sink has one request at a time, in order; the others wait in the ring', async () => {
    const asked: string[] = [];
    const answers: (() => void)[] = [];
    const output = (bytes: Uint8Array): Promise<void> => {
      asked.push(textOf(bytes));
      return new Promise((resolve) => answers.push(resolve));
    };
    await using guest = await boot({ output });
    for (const text of ['one', 'two', 'three']) guest.transmit.add({ readable: [bytesOf(text)] });
    guest.transmit.kick();
    for (const expected of [['one'], ['one', 'two'], ['one', 'two', 'three']]) {
      while (asked.length < expected.length) await turn();
      await turn();
      assert.deepEqual(asked, expected);
      assert.deepEqual(guest.transmit.harvest(), []);
      answers.shift()?.();
      await guest.transmit.used();
    }
  });

  for (const [what, output] of Object.entries({
    throws: (): void => {
      throw new Error('EPIPE');
    },
    rejects: () => Promise.reject(new Error('EPIPE')),
  })) {
    test(`with a sink that ${what} bytes are lost, a line says so, and the device goes on`, async () => {
      await using guest = await boot({ output });
      await guest.transmit.request({ readable: [bytesOf('hello')] });
      await guest.transmit.request({ readable: [bytesOf('!')] });
      assert.deepEqual(guest.loop.lines, [
        'console: 5 bytes of output are lost: EPIPE',
        'console: 1 bytes of output are lost: EPIPE',
      ]);
    });
  }

  test('§5.3.6.1 device-writable buffers, which a driver MUST NOT put in the transmitq, do no harm', async () => {
    const seen: string[] = [];
    await using guest = await boot({ output: (bytes) => seen.push(textOf(bytes)) });
    assert.equal((await guest.transmit.request({ writable: [64] })).written, 0);
    assert.equal((await guest.transmit.request({ readable: [new Uint8Array()] })).written, 0);
    const { written, bytes } = await guest.transmit.request({ readable: [bytesOf('a')], writable: [2] });
    assert.deepEqual([written, [...bytes]], [0, [0xee, 0xee]]);
    assert.deepEqual(seen, ['a']);
  });

  test('a request that is longer than any driver’s is written in part, and a line says so', async () => {
    const seen: number[] = [];
    await using guest = await boot({ output: (bytes) => seen.push(bytes.length) }, { memoryBytes: 4 << 20 });
    await guest.transmit.request({ readable: [new Uint8Array(REQUEST_BYTES_MAX), bytesOf('more')] });
    assert.deepEqual(seen, [REQUEST_BYTES_MAX]);
    assert.deepEqual(guest.loop.lines, ['console: a request of 1048580 bytes: what is beyond 1048576 is lost']);
  });

  test('a ring that is full does not keep the thread: others have their turn in between', async () => {
    const callsSeen: number[] = [];
    const output = (): number => callsSeen.push(guest.receive.calls);
    await using guest = await boot({ output }, { size: 256 });
    const { calls } = guest.receive;
    await guest.device.push('k');
    for (let i = 0; i < 256; i++) guest.transmit.add({ readable: [bytesOf('x')] });
    guest.transmit.kick();
    offer(guest.receive, 8);
    await guest.transmit.used(256);
    assert.notEqual(
      callsSeen.findIndex((seen) => seen > calls),
      -1,
      'input was delivered before the last output',
    );
  });
});

suite('§5.3.6 input', () => {
  test('input goes to a buffer of the receiveq at once, and the used length is its size', async () => {
    await using guest = await boot();
    offer(guest.receive, 16, 16);
    await guest.device.push('ls\n');
    const [used] = await guest.receive.used();
    assert.deepEqual([used?.written, inputOf([used!])], [3, 'ls\n']);
    await guest.device.push(bytesOf('x'));
    assert.equal(inputOf(await guest.receive.used()), 'x');
  });

  test('input is cut to the buffers there are, also to pieces of one, in order', async () => {
    await using guest = await boot();
    offer(guest.receive, 3, 1);
    await guest.device.push('abcdefghij');
    const first = await guest.receive.used(2);
    guest.receive.add({ writable: [1, 0, 2] });
    guest.receive.kick();
    const second = await guest.receive.used();
    offer(guest.receive, 100);
    const all = [...first, ...second, ...(await guest.receive.used())];
    assert.deepEqual(
      all.map((used) => inputOf([used])),
      ['abc', 'd', 'efg', 'hij'],
    );
  });

  test('input without a buffer waits for one', async () => {
    await using guest = await boot();
    await guest.device.push('early ');
    await guest.device.push('birds');
    offer(guest.receive, 64);
    assert.equal(inputOf(await guest.receive.used()), 'early birds');
  });

  test('§5.3.6.1 device-readable buffers, which a driver MUST NOT put in the receiveq, come back without input', async () => {
    await using guest = await boot();
    guest.receive.add({ readable: [bytesOf('what?')] });
    guest.receive.add({ writable: [0] });
    guest.receive.add({ readable: [bytesOf('what?')], writable: [8] });
    guest.receive.kick();
    const empty = await guest.receive.used(2);
    await guest.device.push('ok');
    const used = [...empty, ...(await guest.receive.used())];
    assert.deepEqual(
      used.map(({ written }) => written),
      [0, 0, 2],
    );
    assert.equal(inputOf(used), 'ok');
  });

  test('a ring full of buffers without room does not keep the thread', async () => {
    const events: string[] = [];
    await using guest = await boot({ output: () => events.push('written') }, { size: 256 });
    for (let i = 0; i < 256; i++) guest.receive.add({ writable: [0] });
    guest.transmit.add({ readable: [bytesOf('x')] });
    guest.receive.kick();
    guest.transmit.kick();
    while (events.length === 0) await turn();
    assert.ok(guest.receive.harvest().length < 256);
    while (guest.receive.inFlight > 0) await guest.receive.used();
  });

  test(`input that waits is bounded: ${INPUT_BYTES_MAX} bytes; a source that waits for its turn loses nothing`, async () => {
    await using guest = await boot();
    const piece = new Uint8Array(INPUT_BYTES_MAX / 4);
    let pushed = 0;
    const source = (async () => {
      for (; pushed < 8; pushed++) await guest.device.push(piece.fill(pushed));
    })();
    await turn();
    assert.equal(pushed, 3, 'the fourth has filled it');
    const read: Uint8Array[] = [];
    while (read.reduce((sum, { length }) => sum + length, 0) < 8 * piece.length) {
      offer(guest.receive, 5000, 3000);
      for (const { bytes, written } of await guest.receive.used()) read.push(bytes.subarray(0, written));
    }
    await source;
    const all = Buffer.concat(read);
    assert.ok(all.every((byte, i) => byte === Math.floor(i / piece.length)));
    assert.deepEqual(guest.loop.lines, []);
  });

  test('input beyond the bound is lost where the source does not wait, and a line says how much', async () => {
    await using guest = await boot();
    void guest.device.push(new Uint8Array(INPUT_BYTES_MAX));
    void guest.device.push('seven..');
    assert.deepEqual(guest.loop.lines, [
      `console: 7 bytes of input are lost: ${INPUT_BYTES_MAX} wait for the guest to read them`,
    ]);
    offer(guest.receive, INPUT_BYTES_MAX);
    assert.equal((await guest.receive.used())[0]?.written, INPUT_BYTES_MAX);
    await guest.device.push('again');
    offer(guest.receive, 8);
    assert.equal(inputOf(await guest.receive.used()), 'again');
  });

  test('thousands of single keys cost no more than their bytes', async () => {
    await using guest = await boot();
    for (let i = 0; i < 20_000; i++) void guest.device.push(Uint8Array.of(i));
    offer(guest.receive, 20_000);
    const [used] = await guest.receive.used();
    assert.equal(used?.written, 20_000);
    assert.ok(used?.bytes.every((byte, i) => byte === (i & 0xff)));
  });
});

suite('§5.3.6 the window', () => {
  test('a driver that negotiated SIZE is notified of a change, and reads it', async () => {
    await using guest = await boot({ size: { cols: 80, rows: 25 } });
    guest.device.resize({ cols: 132, rows: 43 });
    assert.equal(guest.loop.configChanges, 1);
    const config = guest.loop.config();
    assert.deepEqual([config.getUint16(0, true), config.getUint16(2, true)], [132, 43]);
  });

  test('a driver that did not is left in peace', async () => {
    await using guest = await boot({ size: { cols: 80, rows: 25 } }, { features: VIRTIO_F_VERSION_1 });
    guest.device.resize({ cols: 132, rows: 43 });
    assert.equal(guest.loop.configChanges, 0);
  });

  test('a reset does not change it: it is not the driver’s', async () => {
    await using guest = await boot({ size: { cols: 80, rows: 25 } });
    guest.device.resize({ cols: 132, rows: 43 });
    await guest.loop.reset();
    assert.equal(guest.loop.config().getUint16(0, true), 132);
    guest.device.resize({ cols: 133, rows: 43 });
    assert.equal(guest.loop.configChanges, 2);
  });

  test('a console without one has none to change', () => {
    assert.throws(() => new ConsoleDevice({ output: ignore }).resize({ cols: 1, rows: 1 }), /made without a size/);
  });
});

suite('§5.3.5.1 emergency writes', () => {
  test('"The device MUST allow a write to emerg_wr, even on an unconfigured device": its lower byte is output', async () => {
    const seen: Uint8Array[] = [];
    const { config } = new ConsoleDevice({ output: (bytes) => seen.push(bytes) });
    assert.equal(config.write?.(spec.CONFIG.emerg_wr, Uint8Array.of(0x48, 1, 2, 3)), true);
    assert.equal(config.write?.(spec.CONFIG.emerg_wr, Uint8Array.of(0x69)), true);
    assert.equal(textOf(...seen), 'Hi');
    assert.deepEqual([...config.bytes.subarray(spec.CONFIG.emerg_wr)], [0, 0, 0, 0], 'it is not to be read');
  });

  test('they wait for a sink that is busy, in order and before the ring, and are lost and logged beyond a bound', async () => {
    const seen: string[] = [];
    const answers: (() => void)[] = [];
    const output = (bytes: Uint8Array): Promise<void> => {
      seen.push(textOf(bytes));
      return new Promise((resolve) => answers.push(resolve));
    };
    await using guest = await boot({ output });
    const write = (): Promise<boolean> => guest.loop.writeConfig(spec.CONFIG.emerg_wr, bytesOf('!'));
    for (const text of ['one', 'two']) guest.transmit.add({ readable: [bytesOf(text)] });
    guest.transmit.kick();
    while (seen.length === 0) await turn();
    for (let i = 0; i < EMERGENCY_BYTES_MAX + 2; i++) await write();
    assert.deepEqual(
      guest.loop.lines,
      new Array(2).fill('console: an emergency write is lost: 4096 wait for the reader'),
    );
    for (let i = 0; i < 3; i++) {
      while (answers.length === 0) await turn();
      answers.shift()?.();
    }
    await guest.transmit.used(2);
    assert.deepEqual(seen, ['one', '!'.repeat(EMERGENCY_BYTES_MAX), 'two']);
  });
});

suite('a console that is stopped', () => {
  test('returns the buffer that it holds: the base is that of the buffers it used', async () => {
    await using guest = await boot();
    offer(guest.receive, 8, 8, 8);
    await guest.device.push('a');
    await guest.receive.used();
    assert.deepEqual(await guest.receive.stop(), { base: 1, broken: false });
    await guest.receive.start();
    await guest.device.push('b');
    assert.equal(inputOf(await guest.receive.used()), 'b');
    assert.equal(guest.receive.inFlight, 1);
  });

  test('keeps input during the pause: after it the guest reads it, once and in order', async () => {
    await using guest = await boot();
    offer(guest.receive, 8, 8);
    await guest.device.push('before ');
    await guest.loop.pause();
    const memory = guest.loop.memory.bytes.slice();
    await guest.device.push('during ');
    await turn();
    assert.equal(Buffer.compare(guest.loop.memory.bytes, memory), 0, 'nothing touches memory');
    await guest.loop.resume();
    await guest.device.push('after');
    offer(guest.receive, 8);
    let text = '';
    while (text.length < 'before during after'.length) text += inputOf(await guest.receive.used());
    assert.equal(text, 'before during after');
  });

  test('does not wait for the reader of its output: the sink has the bytes, and none is lost or written twice', async () => {
    const seen: string[] = [];
    const answers: (() => void)[] = [];
    const output = (bytes: Uint8Array): Promise<void> => {
      seen.push(textOf(bytes));
      return new Promise((resolve) => answers.push(resolve));
    };
    await using guest = await boot({ output });
    for (const text of ['one', 'two']) guest.transmit.add({ readable: [bytesOf(text)] });
    guest.transmit.kick();
    while (seen.length === 0) await turn();
    assert.equal((await guest.transmit.stop())?.base, 1, 'at once');
    assert.equal(guest.transmit.harvest().length, 1);
    await guest.transmit.start();
    await turn();
    assert.deepEqual(seen, ['one'], 'the sink is busy still');
    answers[0]?.();
    while (seen.length === 1) await turn();
    answers[1]?.();
    await guest.transmit.used();
    assert.deepEqual(seen, ['one', 'two']);
  });

  test('and reset keeps the pending input for the next driver', async () => {
    await using guest = await boot();
    await guest.device.push('root\n');
    await guest.loop.reset();
    offer(guest.receive, 8);
    assert.equal(inputOf(await guest.receive.used()), 'root\n');
  });
});
