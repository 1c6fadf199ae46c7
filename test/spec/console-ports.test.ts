// §5.3.6.2 Multiport Device Operation, clause by clause.
import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { suite, test } from 'node:test';
import { ConsoleDevice, type ConsoleDeviceOptions, PORTS_MAX } from '../../src/devices/console/console-device.ts';
import { INPUT_BYTES_MAX } from '../../src/devices/console/console-input.ts';
import * as spec from '../../src/devices/console/spec.ts';
import { VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { ConsoleGuest } from '../reference/console-guest.ts';

const { EVENT } = spec;
const ignore = (): void => {};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await turn();
};
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

suite('§5.3.1 to §5.3.5 what a device of several ports is', () => {
  test('§5.3.2 port n has the queues 2n + 2 and 2n + 3, port 0 those below the control queues 2 and 3', () => {
    assert.deepEqual([0, 1, 2, 30].map(spec.receiveQueueOf), [0, 4, 6, 62]);
    assert.deepEqual([0, 1, 4, 5, 6, 7, 62, 63].map(spec.portOf), [0, 0, 1, 1, 2, 2, 30, 30]);
    assert.equal(new ConsoleDevice({ output: ignore, maxPorts: 2 }).queueSizes.length, 6);
    assert.equal(new ConsoleDevice({ output: ignore, maxPorts: PORTS_MAX }).queueSizes.length, 64);
  });

  test('§5.3.4 max_nr_ports is there with MULTIPORT', () => {
    const device = new ConsoleDevice({ output: ignore, ports: [{ name: 'a' }] });
    assert.notEqual(device.features & spec.VIRTIO_CONSOLE_F_MULTIPORT, 0n);
    assert.equal(new DataView(device.config.bytes.buffer).getUint32(spec.CONFIG.max_nr_ports, true), 8);
    assert.deepEqual(
      device.ports.map(({ id, name, isConsole }) => [id, name, isConsole]),
      [
        [0, undefined, true],
        [1, 'a', false],
      ],
    );
  });

  test('a device may have ports, and no console', () => {
    const device = new ConsoleDevice({ ports: [{ name: 'a' }] });
    assert.equal(device.features, spec.VIRTIO_CONSOLE_F_MULTIPORT | spec.VIRTIO_CONSOLE_F_SIZE);
    assert.deepEqual(
      device.ports.map(({ id }) => id),
      [1],
    );
    assert.throws(() => device.push('x'), /no port 0/);
  });

  const bad: readonly [string, ConsoleDeviceOptions, RegExp][] = [
    ['no output and no ports', {}, /output is a stream/],
    ['a size and no console', { ports: [], size: { cols: 1, rows: 1 } }, /a console with a size has an input/],
    ['more ports than it may have', { ports: [{}, {}], maxPorts: 2 }, /of 3 ports.*2 is the most/],
    ['one port at most', { output: ignore, maxPorts: 1 }, /of 1 ports; .* from 2 to 31/],
    ['too many ports', { output: ignore, maxPorts: 32 }, /of 32 ports; .* from 2 to 31/],
    ['a name twice', { ports: [{ name: 'a' }, { name: 'a' }] }, /has a port a already/],
    ['a name that is too long', { ports: [{ name: 'x'.repeat(64) }] }, /1 to 63 bytes/],
    ['an empty name', { ports: [{ name: '' }] }, /1 to 63 bytes/],
    ['a name of two lines', { ports: [{ name: 'a\nb' }] }, /the name of a file/],
    ['a name that is a path', { ports: [{ name: '../passwd' }] }, /the name of a file/],
    ['a serial port with a window', { ports: [{ size: { cols: 1, rows: 1 } }] }, /is no console/],
    ['a stream and an output', { ports: [{ stream: duplexPair()[0], output: ignore }] }, /and not both/],
    ['a stream that is none', { ports: [{ stream: {} as never }] }, /a Duplex/],
  ];
  for (const [what, options, message] of bad)
    test(`${what} is refused in one line`, () => assert.throws(() => new ConsoleDevice(options), message));

  test('a port that has no place is refused, and a console of one port has none', () => {
    const device = new ConsoleDevice({ output: ignore, maxPorts: 2 });
    const port = device.addPort({ name: 'a' });
    assert.throws(() => device.addPort({ name: 'b' }), /2 ports at most.*maxPorts/);
    void port.remove();
    device.addPort({ name: 'b' });
    assert.throws(() => new ConsoleDevice({ output: ignore }).addPort({}), /made with one port/);
  });
});

suite('§5.3.6.2 what the driver is told', () => {
  test('nothing before DEVICE_READY; then each port is added, and named and opened when it is ready', async () => {
    const ports = [
      { name: 'agent' },
      { name: 'shell', isConsole: true, size: { cols: 80, rows: 25 } },
      { isOpen: false },
    ];
    await using guest = await ConsoleGuest.boot({ output: ignore, ports });
    await settled();
    assert.deepEqual(guest.heard(), []);
    await guest.say(0, EVENT.DEVICE_READY, 1);
    assert.deepEqual(await guest.hears(4), ['0 DEVICE_ADD 0', '1 DEVICE_ADD 0', '2 DEVICE_ADD 0', '3 DEVICE_ADD 0']);
    await guest.say(1, EVENT.PORT_READY, 1);
    assert.deepEqual(await guest.hears(2), ['1 PORT_NAME 0 agent', '1 PORT_OPEN 1']);
    await guest.say(2, EVENT.PORT_READY, 1);
    assert.deepEqual(await guest.hears(4), [
      '2 CONSOLE_PORT 1',
      '2 PORT_NAME 0 shell',
      '2 RESIZE 0 80x25',
      '2 PORT_OPEN 1',
    ]);
    await guest.say(3, EVENT.PORT_READY, 1);
    await settled();
    assert.deepEqual(guest.heard(), []);
  });

  test('"The device MUST NOT specify a port which exists in a DEVICE_ADD message": not for a second DEVICE_READY', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    await guest.say(0, EVENT.DEVICE_READY, 1);
    assert.deepEqual(await guest.hears(1), ['1 DEVICE_ADD 0']);
    await guest.say(0, EVENT.DEVICE_READY, 1);
    await guest.say(1, EVENT.PORT_READY, 1);
    await guest.say(1, EVENT.PORT_READY, 1);
    assert.deepEqual(await guest.hears(2), ['1 PORT_NAME 0 a', '1 PORT_OPEN 1']);
    await settled();
    assert.deepEqual(guest.heard(), []);
  });

  test('a port is added and removed while the guest runs, and its number is used again as the last', async () => {
    await using guest = await ConsoleGuest.boot({ output: ignore, maxPorts: 3 });
    await guest.up(0);
    await guest.hears(2);
    const port = guest.device.addPort({ name: 'hot' });
    assert.deepEqual(await guest.hears(1), ['1 DEVICE_ADD 0']);
    await guest.say(1, EVENT.PORT_READY, 1);
    assert.deepEqual(await guest.hears(2), ['1 PORT_NAME 0 hot', '1 PORT_OPEN 1']);
    await port.remove();
    guest.device.addPort({ name: 'next' });
    guest.device.addPort({ name: 'again' });
    assert.deepEqual(await guest.hears(3), ['1 DEVICE_REMOVE 0', '2 DEVICE_ADD 0', '1 DEVICE_ADD 0']);
    await port.remove();
    await settled();
    assert.deepEqual(guest.heard(), [], 'twice is once');
  });

  test('"MUST NOT specify a port in DEVICE_REMOVE which has not been created": a port that was not heard of is not', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    await guest.device.ports[0]?.remove();
    await guest.up();
    const port = guest.device.addPort({ name: 'b' });
    await port.remove();
    await settled();
    assert.deepEqual(guest.heard(), []);
  });

  test('a driver that gives no buffers makes nothing grow: it is told how things are in the end', async () => {
    await using guest = await ConsoleGuest.boot({ output: ignore, size: { cols: 1, rows: 1 }, maxPorts: 3 });
    await guest.up(0);
    for (let i = 0; i < 1000; i++) {
      guest.device.resize({ cols: i, rows: 7 });
      const port = guest.device.addPort({ name: 'p' });
      await port.remove();
    }
    const last = guest.device.addPort({ name: 'last', isOpen: false });
    last.setOpen(true);
    assert.deepEqual((await guest.hears(4)).toSorted(), [
      '0 CONSOLE_PORT 1',
      '0 PORT_OPEN 1',
      '0 RESIZE 0 999x7',
      '1 DEVICE_ADD 0',
    ]);
  });

  test('a window of a console of port 0 is in the configuration space too, and a change of it is notified', async () => {
    await using guest = await ConsoleGuest.boot({ output: ignore, size: { cols: 80, rows: 25 }, maxPorts: 2 });
    await guest.up(0);
    await guest.hears(3);
    guest.device.resize({ cols: 132, rows: 50 });
    assert.deepEqual(await guest.hears(1), ['0 RESIZE 0 132x50']);
    assert.deepEqual([guest.loop.configChanges, guest.loop.config().getUint16(0, true)], [1, 132]);
  });

  test('that the other end closed and opened', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    await guest.up(1);
    await guest.hears(2);
    guest.device.ports[0]?.setOpen(false);
    assert.deepEqual(await guest.hears(1), ['1 PORT_OPEN 0']);
    guest.device.ports[0]?.setOpen(true);
    assert.deepEqual(await guest.hears(1), ['1 PORT_OPEN 1']);
  });

  test('a reset: the next driver is told everything again', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    for (let i = 0; i < 2; i++) {
      await guest.up(1);
      assert.deepEqual(await guest.hears(2), ['1 PORT_NAME 0 a', '1 PORT_OPEN 1']);
      await guest.loop.reset();
      await settled();
      assert.deepEqual(guest.heard(), []);
      await guest.loop.reset();
    }
  });

  test('a driver that comes back from sleep says PORT_READY alone', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    await guest.say(1, EVENT.PORT_READY, 1);
    assert.deepEqual(await guest.hears(2), ['1 PORT_NAME 0 a', '1 PORT_OPEN 1']);
    guest.device.addPort({ name: 'b' });
    assert.deepEqual(await guest.hears(1), ['2 DEVICE_ADD 0']);
  });

  test('buffers that are too small: the message waits for one that has room, a name that never has is lost', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'agent' }] });
    await guest.up();
    assert.equal((await guest.control.request({ writable: [7] })).written, 0);
    assert.equal((await guest.control.request({ writable: [8] })).written, 8);
    await guest.say(1, EVENT.PORT_READY, 1);
    assert.equal((await guest.control.request({ writable: [12] })).written, 0);
    assert.deepEqual(guest.loop.lines, [
      'console: a control message of 13 bytes is lost: the driver gave a buffer of 12',
    ]);
    assert.deepEqual(await guest.hears(1), ['1 PORT_OPEN 1']);
  });

  test('messages of the driver that make no sense change nothing', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    for (const id of [0, 2, 8, 0xffffffff])
      for (const event of [1, 2, 3, 4, 5, 6, 7, 99]) await guest.say(id, event, 1);
    await guest.say(1, EVENT.PORT_OPEN, 1);
    assert.equal(guest.device.ports[0]?.isOpenInGuest, false);
    await guest.loop.queues[spec.CONTROL_TRANSMITQ]?.request({ readable: [Uint8Array.of(1, 2, 3)] });
    await guest.say(1, EVENT.PORT_READY, 0);
    await guest.say(0, EVENT.DEVICE_READY, 0);
    assert.deepEqual(guest.loop.lines, [
      'console: the driver could not set up the port a',
      'console: the driver could not set up its ports',
    ]);
    assert.deepEqual(guest.heard(), []);
  });
});

suite('bytes of several ports', () => {
  test('go both ways, each port’s to its own end', async () => {
    const ends = [duplexPair(), duplexPair()] as const;
    const ports = ends.map(([stream], i) => ({ name: `p${i}`, stream }));
    await using guest = await ConsoleGuest.boot({ output: ignore, ports });
    await guest.up(1, 2);
    for (const id of [1, 2]) await guest.say(id, EVENT.PORT_OPEN, 1);
    for (const [i, [, mine]] of ends.entries()) {
      mine.write(`to ${i}`);
      assert.equal(await guest.reads(i + 1, 4), `to ${i}`);
      const written = guest.writes(i + 1, `from ${i}`);
      while (mine.readableLength < 6) await turn();
      assert.equal(String(mine.read()), `from ${i}`);
      await written;
    }
  });

  test('input of a serial port waits until the guest has opened it, and while it is closed', async () => {
    const opened: boolean[] = [];
    const ports = [{ name: 'a', onOpen: (isOpen: boolean) => opened.push(isOpen) }];
    await using guest = await ConsoleGuest.boot({ output: ignore, ports });
    await guest.up(1);
    const [, port] = guest.device.ports;
    const read = guest.reads(1, 6);
    await port?.push('abc');
    await settled();
    assert.deepEqual([guest.receive(1).inFlight, opened], [1, []]);
    await guest.say(1, EVENT.PORT_OPEN, 1);
    await guest.say(1, EVENT.PORT_OPEN, 1);
    await settled();
    await guest.say(1, EVENT.PORT_OPEN, 0);
    await port?.push('def');
    await settled();
    assert.deepEqual(opened, [true, false]);
    await guest.say(1, EVENT.PORT_OPEN, 1);
    assert.equal(await read, 'abcdef');
  });

  test('input of a console does not wait: the guest has it open', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ isConsole: true }] });
    await guest.device.ports[0]?.push('early');
    assert.equal(await guest.reads(1, 5), 'early');
  });

  test('a port that the guest does not read stops its source, and no other port', async () => {
    const [stream, mine] = duplexPair({ highWaterMark: 1024 });
    await using guest = await ConsoleGuest.boot({ output: ignore, ports: [{ name: 'a', stream }, { name: 'b' }] });
    await guest.up(1, 2);
    for (const id of [1, 2]) await guest.say(id, EVENT.PORT_OPEN, 1);
    let sent = 0;
    while (mine.writableLength === 0 && sent < 100) {
      mine.write(new Uint8Array(4096).fill(sent++));
      await settled();
    }
    assert.ok(sent * 4096 < INPUT_BYTES_MAX + 8 * 4096, `${sent} pieces were taken`);
    await guest.device.ports[2]?.push('b is served');
    assert.equal(await guest.reads(2, 11), 'b is served');
    const text = await guest.reads(1, sent * 4096);
    assert.ok([...Buffer.from(text)].length >= sent * 4096);
    assert.deepEqual(guest.loop.lines, []);
  });

  test('a port whose end does not read stops the guest’s writer, and no other port', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const seen: string[] = [];
    const ports = [
      { name: 'slow', output: () => promise },
      { name: 'fast', output: (bytes: Uint8Array) => seen.push(textOf(bytes)) },
    ];
    await using guest = await ConsoleGuest.boot({ output: ignore, ports });
    for (let i = 0; i < 4; i++) guest.transmit(1).add({ readable: [bytesOf('x')] });
    guest.transmit(1).kick();
    await guest.writes(2, 'served');
    assert.deepEqual([seen, guest.transmit(1).harvest().length], [['served'], 0]);
    resolve();
    await guest.transmit(1).used(4);
  });

  test('a removed port: its pending output comes back, what is written later is dropped, its stream is destroyed', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const [stream] = duplexPair();
    const seen: string[] = [];
    const output = (bytes: Uint8Array): Promise<void> => {
      seen.push(textOf(bytes));
      return promise;
    };
    await using guest = await ConsoleGuest.boot({ output: ignore, ports: [{ output }, { stream }], maxPorts: 3 });
    await guest.up(1, 2);
    for (const text of ['one', 'two']) guest.transmit(1).add({ readable: [bytesOf(text)] });
    guest.transmit(1).kick();
    guest.receive(1).add({ writable: [8] });
    guest.receive(1).kick();
    while (seen.length === 0) await turn();
    const removed = guest.device.ports[1]?.remove();
    assert.equal((await guest.transmit(1).used(2)).length, 2);
    await guest.writes(1, 'three');
    resolve();
    await removed;
    await guest.device.ports[1]?.remove();
    assert.equal(stream.destroyed, true);
    assert.deepEqual(seen, ['one']);
    // The buffer that it held is the next port's.
    const next = guest.device.addPort({ isConsole: true });
    assert.equal(next.id, 1);
    await next.push('for you');
    const [used] = await guest.receive(1).used();
    assert.equal(textOf(used?.bytes.subarray(0, used.written) as Uint8Array), 'for you');
  });

  test('without MULTIPORT accepted there is port 0, and the device is like one that has no other', async () => {
    const seen: string[] = [];
    const output = (bytes: Uint8Array): unknown => seen.push(textOf(bytes));
    const features = VIRTIO_F_VERSION_1;
    await using guest = await ConsoleGuest.boot({ output, ports: [{ name: 'a' }] }, { features });
    await guest.writes(0, 'hello');
    await guest.device.push('root');
    assert.equal(await guest.reads(0, 4), 'root');
    assert.deepEqual(seen, ['hello']);
  });

  test('a pause keeps what the driver knows, and what waits', async () => {
    await using guest = await ConsoleGuest.boot({ ports: [{ name: 'a' }] });
    await guest.up(1);
    await guest.say(1, EVENT.PORT_OPEN, 1);
    await guest.hears(2);
    guest.receive(1).add({ writable: [8] });
    guest.receive(1).kick();
    await settled();
    await guest.loop.pause();
    await guest.device.ports[0]?.push('meantime');
    guest.device.addPort({ name: 'b' });
    await guest.loop.resume();
    const [used] = await guest.receive(1).used();
    assert.equal(textOf(used?.bytes as Uint8Array), 'meantime');
    assert.deepEqual(await guest.hears(1), ['2 DEVICE_ADD 0']);
  });
});
