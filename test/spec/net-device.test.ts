// §5.1 Network Device, clause by clause.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BACKLOG_BYTES_MAX, BACKLOG_FRAMES_MAX } from '../../src/devices/net/frame-backlog.ts';
import { TABLE_MAX } from '../../src/devices/net/frame-filter.ts';
import { OFFLOADS } from '../../src/devices/net/net-config.ts';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import * as spec from '../../src/devices/net/spec.ts';
import { eventually } from '../../src/testing/patience.ts';
import {
  bootNet,
  frameOf,
  type HeaderFields,
  headerOf,
  MAC,
  type NetGuest,
  RecordingPort,
} from '../reference/net-guest.ts';

const MULTICAST = [0x01, 0, 0x5e, 0, 0, 1];
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const OTHER = [0x52, 0x54, 0, 0, 0, 9];
const le16 = (value: number): number[] => [value & 0xff, value >> 8];
const le32 = (value: number): number[] => [...le16(value & 0xffff), ...le16(value >>> 16)];
const { VIRTIO_NET_OK: OK, VIRTIO_NET_ERR: ERR } = spec;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

/** Only the features that the test is about: without MRG_RXBUF a buffer is a frame. */
const without =
  (bits: bigint) =>
  (offloads = 0n) =>
    (new NetDevice({ port: new RecordingPort(offloads) }).features | (1n << 32n)) & ~bits;

test('§5.1.1 the device ID is 1', () => assert.equal(new NetDevice({ port: new RecordingPort() }).type, 1));
test('§5.1.2 there are a receive, a transmit and a control queue', () =>
  assert.equal(new NetDevice({ port: new RecordingPort() }).queueSizes.length, 3));

test('regression: every queue takes the 256 descriptors that User-Mode Linux gives even a control queue', () => {
  for (const size of new NetDevice({ port: new RecordingPort() }).queueSizes) assert.ok(size >= 256, `${size}`);
});

suite('§5.1.3 feature bits', () => {
  const plain = new NetDevice({ port: new RecordingPort() }).features;
  test('§5.1.3 offloads are offered only as far as the port has them', () => {
    assert.equal(plain & OFFLOADS, 0n);
    assert.equal(new NetDevice({ port: new RecordingPort(OFFLOADS) }).features, plain | OFFLOADS);
  });

  test('§5.1.3 MTU is offered where there is one', () => {
    assert.equal(plain & spec.VIRTIO_NET_F_MTU, 0n);
    assert.equal(new NetDevice({ port: new RecordingPort(), mtu: 1500 }).features, plain | spec.VIRTIO_NET_F_MTU);
  });

  test('§5.1.3.1 offloads without those that they require are refused', () => {
    for (const [offloads, what] of [
      [spec.VIRTIO_NET_F_HOST_TSO4, /bit 11 without bit 0/],
      [spec.VIRTIO_NET_F_GUEST_USO6, /bit 55 without bit 1/],
      [spec.VIRTIO_NET_F_CSUM | spec.VIRTIO_NET_F_HOST_ECN, /bit 13 without bit 12/],
      [1n << 33n, /offloads are 8589934592/],
    ] as const)
      assert.throws(() => new NetDevice({ port: new RecordingPort(offloads) }), what);
  });

  test('§5.1.3 the port is told what the driver accepted, and that a reset undoes it', async () => {
    await using guest = await bootNet(
      { offloads: OFFLOADS },
      { features: without(spec.VIRTIO_NET_F_HOST_UFO)(OFFLOADS) },
    );
    assert.deepEqual(guest.port.started, [OFFLOADS & ~spec.VIRTIO_NET_F_HOST_UFO]);
    await guest.loop.reset(1n << 32n);
    assert.deepEqual(guest.port.started.slice(1), [0n, 0n]);
  });
});

suite('§5.1.4 device configuration layout', () => {
  test('§5.1.4 mac, status and mtu', async () => {
    await using guest = await bootNet({ mac: MAC, mtu: 9000 });
    const config = guest.loop.config();
    assert.deepEqual([...new Uint8Array(config.buffer, 0, 6)], [0x52, 0x54, 0, 0, 0, 1]);
    assert.equal(config.getUint16(spec.CONFIG.status, true), spec.VIRTIO_NET_S_LINK_UP);
    assert.equal(config.getUint16(spec.CONFIG.mtu, true), 9000);
  });

  test('§5.1.4 all fields are read-only for the driver', async () => {
    await using guest = await bootNet();
    for (let at = 0; at < spec.CONFIG_BYTES; at++)
      assert.equal(await guest.loop.writeConfig(at, Uint8Array.of(1)), false);
  });

  test('§5.1.4.1 "MUST set mtu to between 68 and 65535 inclusive"', () => {
    const port = new RecordingPort();
    for (const mtu of [67, 65536, 1500.5, Number.NaN, -1])
      assert.throws(() => new NetDevice({ port, mtu }), /an MTU of .* from 68 to 65535 is wanted/);
    for (const mtu of [68, 65535]) assert.ok(new NetDevice({ port, mtu }));
  });

  test('a MAC address that no card has is refused', () => {
    for (const [mac, what] of [
      ['01:00:5e:00:00:01', /01:00:5e:00:00:01 is a multicast address/],
      ['ff:ff:ff:ff:ff:ff', /multicast/],
      ['00:00:00:00:00:00', /no card/],
      ['52:54:00:12:34', /six bytes like/],
      ['52:54:00:12:34:5g', /six bytes like/],
      [new Uint8Array(5), /6 bytes/],
    ] as const)
      assert.throws(() => new NetDevice({ port: new RecordingPort(), mac }), what);
  });

  test('without a MAC address it is a random one that is locally administered', () => {
    const macs = Array.from({ length: 8 }, () => new NetDevice({ port: new RecordingPort() }).config.bytes.slice(0, 6));
    assert.equal(new Set(macs.map(String)).size, 8);
    for (const [first = 0] of macs) assert.equal(first & 3, 2);
  });

  test('§5.1.4 status: the link down and up, with a notification each time', async () => {
    await using guest = await bootNet({ mac: MAC });
    const status = (): number => guest.loop.config().getUint16(spec.CONFIG.status, true);
    guest.port.onLink?.(false);
    assert.deepEqual([status(), guest.loop.configChanges], [0, 1]);
    guest.port.onLink?.(false);
    assert.equal(guest.loop.configChanges, 1, 'no change, no notification');
    await guest.transmit(frameOf());
    guest.offer(128);
    guest.inject(frameOf());
    assert.equal(guest.device.counters.droppedDown, 2);
    assert.deepEqual(guest.port.sent, []);
    guest.port.onLink?.(true);
    assert.equal(status() & spec.VIRTIO_NET_S_LINK_UP, spec.VIRTIO_NET_S_LINK_UP);
    guest.inject(frameOf());
    assert.deepEqual((await guest.received()).frame, frameOf());
    await guest.loop.reset();
    assert.equal(status(), spec.VIRTIO_NET_S_LINK_UP, 'a reset leaves the link as it is');
  });

  test('§5.1.4 without STATUS the driver gets no notification of the link', async () => {
    await using guest = await bootNet({}, { features: without(spec.VIRTIO_NET_F_STATUS)() });
    guest.device.setLink(false);
    assert.equal(guest.loop.configChanges, 0);
  });
});

suite('§5.1.6.2 packet transmission', () => {
  test('§5.1.6.2 a packet comes out as it is, however the driver cuts it', async () => {
    await using guest = await bootNet();
    const packet = Uint8Array.of(...headerOf({}), ...frameOf(1514));
    for (const cuts of [[], [12], [1, 11, 13, 200], [5], [26]]) {
      const pieces = [0, ...cuts].map((from, i) => packet.subarray(from, cuts[i] ?? packet.length));
      assert.equal((await guest.transmitq.request({ readable: pieces })).written, 0);
      assert.deepEqual(guest.port.sent.at(-1)?.frame, frameOf(1514));
    }
    assert.equal(guest.device.counters.sentFrames, 5);
    assert.equal(guest.device.counters.sentBytes, 5 * 1514);
  });

  test('§5.1.6.2 the longest packet, of 65589 bytes; a longer one is dropped', async () => {
    await using guest = await bootNet();
    await guest.transmit(frameOf(spec.FRAME_BYTES_MAX));
    assert.deepEqual(guest.port.sent[0]?.frame, frameOf(spec.FRAME_BYTES_MAX));
    await guest.transmit(frameOf(spec.FRAME_BYTES_MAX + 1));
    await guest.transmit(new Uint8Array(200_000));
    assert.equal(guest.port.sent.length, 1);
    assert.equal(guest.device.counters.droppedMalformed, 2);
  });

  test('§5.1.6.2 less than a header and an Ethernet header is dropped', async () => {
    await using guest = await bootNet();
    for (const readable of [[], [new Uint8Array()], [new Uint8Array(11)], [new Uint8Array(12)], [new Uint8Array(25)]])
      assert.equal((await guest.transmitq.request({ readable, writable: [4] })).written, 0);
    assert.equal(guest.device.counters.droppedMalformed, 5);
    await guest.transmit(frameOf(14));
    assert.equal(guest.port.sent.length, 1);
  });

  test('§5.1.6.2 device-writable bytes, which have no place in transmitq, are left alone', async () => {
    await using guest = await bootNet();
    const { written, bytes } = await guest.transmitq.request({ readable: [headerOf({}), frameOf()], writable: [64] });
    assert.equal(written, 0);
    assert.ok(bytes.every((byte) => byte === 0xee));
    assert.equal(guest.port.sent.length, 1);
  });

  const accepted: readonly [string, HeaderFields, HeaderFields][] = [
    ['a partial checksum', { flags: 1, csumStart: 34, csumOffset: 16 }, { flags: 1, csumStart: 34, csumOffset: 16 }],
    ['one at the very end', { flags: 1, csumStart: 58, csumOffset: 0 }, { flags: 1, csumStart: 58, csumOffset: 0 }],
    ...([1, 3, 4, 5, 0x81, 0x84] as const).map((gsoType): [string, HeaderFields, HeaderFields] => {
      const fields = { flags: 1, csumStart: 34, csumOffset: 16, gsoType, gsoSize: 1448, hdrLen: 54 };
      return [`gso_type ${gsoType}`, fields, fields];
    }),
    [
      'hdr_len beyond the frame, which is no more than a hint',
      { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 1448, hdrLen: 0xffff },
      { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 1448, hdrLen: 60 },
    ],
    ['§5.1.6.2.2 flags that are not known, which "the device MUST ignore"', { flags: 0xf8, numBuffers: 7 }, {}],
    ['§5.1.6.2.2 csum_start without NEEDS_CSUM, which it "MUST NOT use"', { csumStart: 99, csumOffset: 99 }, {}],
    ['gso_size and hdr_len without a gso_type', { gsoSize: 9, hdrLen: 9 }, {}],
  ];
  for (const [what, given, passed] of accepted)
    test(`§5.1.6.2 ${what}: the port gets the header, with nothing unchecked in it`, async () => {
      await using guest = await bootNet({ offloads: OFFLOADS });
      await guest.transmit(frameOf(), headerOf(given));
      assert.deepEqual(guest.port.sent[0]?.header, headerOf(passed));
    });

  const refused: readonly [string, HeaderFields][] = [
    ['csum_start beyond the frame', { flags: 1, csumStart: 60, csumOffset: 0 }],
    ['csum_start at the limit', { flags: 1, csumStart: 0xffff, csumOffset: 0xffff }],
    ['csum_offset beyond the frame', { flags: 1, csumStart: 34, csumOffset: 25 }],
    ['a checksum whose second byte is beyond the frame', { flags: 1, csumStart: 59, csumOffset: 0 }],
    ['gso_size 0', { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 0 }],
    ['a gso_type without NEEDS_CSUM, which the driver MUST set', { gsoType: 1, gsoSize: 1448 }],
    ['a gso_type that does not exist', { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 2, gsoSize: 1448 }],
    ['gso_type 0x7f', { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 0x7f, gsoSize: 1448 }],
    ['ECN with UDP', { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 0x83, gsoSize: 1448 }],
    ['ECN alone', { flags: 1, csumStart: 34, csumOffset: 16, gsoType: 0x80, gsoSize: 1448 }],
  ];
  for (const [what, given] of refused)
    test(`§5.1.6.2 ${what}: the frame is dropped and counted, and the next one is sent`, async () => {
      await using guest = await bootNet({ offloads: OFFLOADS });
      await guest.transmit(frameOf(), headerOf(given));
      assert.deepEqual(guest.port.sent, []);
      assert.equal(guest.device.counters.droppedMalformed, 1);
      await guest.transmit(frameOf());
      assert.equal(guest.port.sent.length, 1);
      assert.equal(guest.transmitq.isBroken, false);
    });

  test('§5.1.6.2.1 an offload that was not negotiated: the frame is dropped', async () => {
    const wants: [bigint, number][] = [
      [spec.VIRTIO_NET_F_HOST_TSO4, 1],
      [spec.VIRTIO_NET_F_HOST_TSO6, 4],
      [spec.VIRTIO_NET_F_HOST_UFO, 3],
      [spec.VIRTIO_NET_F_HOST_USO, 5],
      [spec.VIRTIO_NET_F_HOST_ECN, 0x81],
      [spec.VIRTIO_NET_F_CSUM, 0],
    ];
    for (const [bit, gsoType] of wants) {
      await using guest = await bootNet({ offloads: OFFLOADS }, { features: without(bit)(OFFLOADS) });
      const gso = gsoType === 0 ? {} : { gsoType, gsoSize: 1448 };
      await guest.transmit(frameOf(), headerOf({ flags: 1, csumStart: 34, csumOffset: 16, ...gso }));
      assert.equal(guest.device.counters.droppedMalformed, 1, `bit ${bit}`);
    }
  });

  test('§5.1.4.2 with MTU a packet that is longer is dropped, unless it is segmented; a tag does not count', async () => {
    await using guest = await bootNet({ mtu: 1000, offloads: OFFLOADS });
    const tagged = frameOf(1018, { type: [0x81, 0] });
    for (const frame of [frameOf(1014), tagged]) await guest.transmit(frame);
    await guest.transmit(
      frameOf(9000),
      headerOf({ flags: 1, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 900 }),
    );
    assert.equal(guest.port.sent.length, 3);
    await guest.transmit(frameOf(1015));
    assert.equal(guest.device.counters.droppedMalformed, 1);
  });

  test('a port that throws or refuses loses that frame, and the guest goes on', async () => {
    const answers: (() => unknown)[] = [() => assert.fail('no luck'), () => false, () => undefined];
    await using guest = await bootNet({ port: { send: () => answers.shift()?.() } });
    for (let i = 0; i < 3; i++) await guest.transmit(frameOf());
    assert.equal(guest.device.counters.droppedPort, 2);
    assert.equal(guest.device.counters.sentFrames, 1);
    assert.deepEqual(guest.loop.lines, ['net: a frame of 60 bytes is lost: no luck']);
  });
});

suite('§5.1.6.3 and §5.1.6.4 incoming packets', () => {
  test('§5.1.6.4 a packet in one buffer: num_buffers is 1, and the used length is that of header and packet', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(1526);
    assert.equal(guest.inject(frameOf(1514)), true);
    const [used] = await guest.receiveq.used();
    assert.equal(used?.written, 1526);
    assert.deepEqual(used?.bytes, Uint8Array.of(...headerOf({ numBuffers: 1 }), ...frameOf(1514)));
  });

  test('§5.1.6.4.1 a packet over several buffers: all but the last are used completely', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(12, 100, 13, 500, 5000);
    guest.inject(frameOf(1000));
    const used = await guest.receiveq.used(5);
    assert.deepEqual(
      used.map(({ written }) => written),
      [12, 100, 13, 500, 1012 - 625],
    );
    const bytes = used.flatMap((one) => [...one.bytes.subarray(0, one.written)]);
    assert.deepEqual(Uint8Array.from(bytes), Uint8Array.of(...headerOf({ numBuffers: 5 }), ...frameOf(1000)));
  });

  test('§5.1.6.4.1 all buffers of a packet are observed as used together', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(500, 500);
    assert.equal(guest.inject(frameOf(1400)), false);
    await settled();
    assert.deepEqual(guest.receiveq.harvest(), [], 'two of three buffers are not used');
    guest.offer(500);
    assert.equal((await guest.receiveq.used(3)).length, 3);
    assert.equal(guest.port.resumed, 1);
  });

  test('§5.1.6.3.2 without MRG_RXBUF one buffer has to do: a longer frame is dropped, and the buffer stays', async () => {
    await using guest = await bootNet({ mac: MAC }, { features: without(spec.VIRTIO_NET_F_MRG_RXBUF)() });
    guest.offer(112, 2000);
    guest.inject(frameOf(101));
    assert.equal(guest.device.counters.droppedUnsuitable, 1);
    guest.inject(frameOf(100));
    assert.deepEqual(await guest.received(), { header: headerOf({ numBuffers: 1 }), frame: frameOf(100) });
    guest.inject(frameOf(1500));
    assert.deepEqual((await guest.received()).frame, frameOf(1500));
  });

  test('§5.1.6.3.1 a buffer without room for a header, and one with bytes to read only, come back empty', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.receiveq.add({ readable: [new Uint8Array(64)] });
    guest.offer(0, 1, 11);
    assert.deepEqual(
      (await guest.receiveq.used(4)).map(({ written }) => written),
      [0, 0, 0, 0],
    );
    guest.offer(11, 72);
    guest.inject(frameOf());
    assert.deepEqual(
      (await guest.receiveq.used(2)).map(({ written }) => written),
      [0, 72],
    );
  });

  test('regression: a buffer without room between two that are held: the queue stops, and all three are put back', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(50, 0, 5, 50);
    guest.inject(frameOf(1000));
    assert.equal((await guest.receiveq.stop())?.base, 0);
    await guest.receiveq.start();
    guest.offer(1000);
    guest.inject(frameOf(1000));
    assert.deepEqual((await guest.received()).frame, frameOf(1000));
  });

  test('device-readable bytes in front of a receive buffer are left alone', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.receiveq.add({ readable: [new Uint8Array(64).fill(7)], writable: [5, 0, 100] });
    guest.receiveq.kick();
    guest.inject(frameOf());
    assert.deepEqual((await guest.received()).frame, frameOf());
  });

  test('the longest frame fits 65601 bytes of buffers, and one that is longer is dropped', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(65601);
    guest.inject(frameOf(spec.FRAME_BYTES_MAX + 1));
    guest.inject(frameOf(13));
    assert.equal(guest.device.counters.droppedUnsuitable, 2);
    guest.inject(frameOf(spec.FRAME_BYTES_MAX));
    assert.deepEqual((await guest.received()).frame, frameOf(spec.FRAME_BYTES_MAX));
  });

  test('§5.1.6.4.1 without GUEST_CSUM flags are zero, and a partial checksum is completed', async () => {
    await using guest = await bootNet(
      { mac: MAC, offloads: OFFLOADS },
      { features: without(OFFLOADS & ~spec.VIRTIO_NET_F_CSUM)(OFFLOADS) },
    );
    guest.offer(200, 200);
    guest.inject(frameOf(), headerOf({ flags: spec.VIRTIO_NET_HDR_F_DATA_VALID }));
    assert.deepEqual((await guest.received()).header, headerOf({ numBuffers: 1 }));
    const frame = frameOf(61);
    frame.set([0, 0], 50);
    guest.inject(frame, headerOf({ flags: 1, csumStart: 34, csumOffset: 16 }));
    const received = await guest.received();
    assert.deepEqual(received.header, headerOf({ numBuffers: 1 }));
    assert.equal(checksumFrom(received.frame, 34), 0xffff, 'the sum over the whole is all ones');
    assert.deepEqual([...frame.subarray(50, 52)], [0, 0], 'the port has its frame as it was');
  });

  test('§5.1.6.4.1 a gso_type that the driver did not accept is not passed on', async () => {
    for (const [bits, gsoType] of [
      [spec.VIRTIO_NET_F_GUEST_TSO4, 1],
      [spec.VIRTIO_NET_F_GUEST_TSO6, 4],
      [spec.VIRTIO_NET_F_GUEST_UFO, 3],
      [spec.VIRTIO_NET_F_GUEST_USO4 | spec.VIRTIO_NET_F_GUEST_USO6, 5],
      [spec.VIRTIO_NET_F_GUEST_ECN, 0x81],
    ] as const) {
      const header = headerOf({ flags: 1, csumStart: 34, csumOffset: 16, gsoType, gsoSize: 500, hdrLen: 54 });
      await using accepts = await bootNet({ mac: MAC, offloads: OFFLOADS });
      accepts.offer(1000);
      accepts.inject(frameOf(600), header);
      header[spec.HEADER.num_buffers] = 1;
      assert.deepEqual((await accepts.received()).header, header);
      await using guest = await bootNet({ mac: MAC, offloads: OFFLOADS }, { features: without(bits)(OFFLOADS) });
      guest.offer(1000);
      guest.inject(frameOf(600), header);
      assert.equal(guest.device.counters.droppedUnsuitable, 1, `gso_type ${gsoType}`);
    }
  });

  test('§5.1.4.1 with MTU "the device MUST NOT pass received packets that exceed mtu", unless they are segmented', async () => {
    await using guest = await bootNet({ mac: MAC, mtu: 1000, offloads: OFFLOADS });
    guest.offer(5000, 5000, 5000);
    guest.inject(frameOf(1015));
    assert.equal(guest.device.counters.droppedUnsuitable, 1);
    guest.inject(frameOf(1014));
    assert.equal((await guest.received()).frame.length, 1014);
    guest.inject(frameOf(4000), headerOf({ flags: 1, csumStart: 34, csumOffset: 16, gsoType: 1, gsoSize: 900 }));
    assert.equal((await guest.received()).frame.length, 4000);
  });

  test('a guest that gives no buffers: a bounded number waits, the rest is dropped and counted, and none blocks', async () => {
    await using guest = await bootNet({ mac: MAC }, { memoryBytes: 1 << 21 });
    const extra = 100;
    for (let i = 0; i < BACKLOG_FRAMES_MAX + extra; i++) assert.equal(guest.inject(frameOf(60 + (i % 7))), false);
    assert.equal(guest.device.counters.droppedNoBuffer, extra);
    for (let i = 0; i < BACKLOG_FRAMES_MAX; i++) {
      guest.offer(100);
      assert.equal((await guest.received()).frame.length, 60 + (i % 7), 'in order');
    }
    assert.equal(guest.port.resumed, 1);
    guest.offer(100);
    assert.equal(guest.inject(frameOf()), true);
  });

  test('large frames that wait are bounded in bytes', async () => {
    await using guest = await bootNet({ mac: MAC });
    const fit = Math.floor(BACKLOG_BYTES_MAX / (60_000 + spec.HEADER_BYTES));
    for (let i = 0; i < fit + 5; i++) guest.inject(frameOf(60_000));
    assert.equal(guest.device.counters.droppedNoBuffer, 5);
  });

  test('a frame that needs more buffers than the driver has waits for a limited time, and the next ones come', async () => {
    await using guest = await bootNet({ mac: MAC }, { size: 4 });
    guest.offer(100, 100, 100, 100);
    assert.equal(guest.inject(frameOf(2000)), false);
    await eventually('it is given up', () => guest.device.counters.droppedNoBuffer === 1);
    assert.equal(guest.port.resumed, 1);
    guest.inject(frameOf());
    assert.deepEqual((await guest.received()).frame, frameOf());
  });

  test('without a driver frames are dropped and counted', () => {
    const port = new RecordingPort();
    const device = new NetDevice({ port });
    device.attach({} as never);
    assert.equal(port.onFrame?.(frameOf()), true);
    assert.equal(device.droppedFrames, 1);
  });

  test('a queue that stops has its buffers back, and what waited is dropped', async () => {
    await using guest = await bootNet({ mac: MAC });
    guest.offer(50, 50);
    guest.inject(frameOf(1000));
    assert.equal((await guest.receiveq.stop())?.base, 0);
    assert.equal(guest.device.counters.droppedDown, 1);
    await guest.receiveq.start();
    guest.inject(frameOf());
    assert.equal((await guest.receiveq.used(2)).length, 2);
  });
});

suite('§5.1.6.5 control virtqueue', () => {
  const pass = async (guest: NetGuest, to: readonly number[]): Promise<boolean> => {
    guest.offer(128);
    const before = guest.device.counters.receivedFrames;
    guest.inject(frameOf(60, { to: [...to] }));
    await settled();
    guest.receiveq.harvest();
    return guest.device.counters.receivedFrames > before;
  };
  const RX = spec.VIRTIO_NET_CTRL_RX;
  const set = async (guest: NetGuest, command: number, value: number): Promise<void> =>
    assert.equal(await guest.command(RX, command, [value]), OK);

  test('§5.1.6.5.1 promiscuous at first, as a VMM may keep the control queue; then by address', async () => {
    await using guest = await bootNet({ mac: MAC });
    for (const to of [OTHER, MULTICAST, BROADCAST]) assert.equal(await pass(guest, to), true);
    await set(guest, spec.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    assert.equal(await pass(guest, [0x52, 0x54, 0, 0, 0, 1]), true);
    assert.equal(await pass(guest, BROADCAST), true);
    for (const to of [OTHER, MULTICAST]) assert.equal(await pass(guest, to), false);
    assert.equal(guest.device.counters.droppedFiltered, 2);
    await guest.loop.reset();
    assert.equal(await pass(guest, OTHER), true, 'a reset undoes it');
  });

  test('§5.1.6.5.1 ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST', async () => {
    await using guest = await bootNet({ mac: MAC });
    await set(guest, spec.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    await set(guest, spec.VIRTIO_NET_CTRL_RX_ALLMULTI, 1);
    await set(guest, spec.VIRTIO_NET_CTRL_RX_ALLUNI, 1);
    for (const to of [OTHER, MULTICAST]) assert.equal(await pass(guest, to), true);
    await set(guest, spec.VIRTIO_NET_CTRL_RX_NOMULTI, 1);
    assert.equal(await pass(guest, MULTICAST), false, 'even if ALLMULTI is on');
    assert.equal(await pass(guest, BROADCAST), true, 'which does not apply to broadcast');
    await set(guest, spec.VIRTIO_NET_CTRL_RX_NOUNI, 1);
    assert.equal(await pass(guest, OTHER), false, 'even if ALLUNI is on');
    await set(guest, spec.VIRTIO_NET_CTRL_RX_NOBCAST, 1);
    assert.equal(await pass(guest, BROADCAST), false);
    await set(guest, spec.VIRTIO_NET_CTRL_RX_PROMISC, 1);
    for (const to of [OTHER, MULTICAST, BROADCAST]) assert.equal(await pass(guest, to), true, 'PROMISC wins');
  });

  test('§5.1.6.5.2 MAC tables', async () => {
    await using guest = await bootNet({ mac: MAC });
    await set(guest, spec.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    const tables = (unicast: readonly number[][], multicast: readonly number[][]): number[] =>
      [unicast, multicast].flatMap((table) => [...le32(table.length), ...table.flat()]);
    const command = (data: readonly number[]): Promise<number> =>
      guest.command(spec.VIRTIO_NET_CTRL_MAC, spec.VIRTIO_NET_CTRL_MAC_TABLE_SET, data);
    assert.equal(await command(tables([OTHER], [MULTICAST])), OK);
    for (const to of [OTHER, MULTICAST]) assert.equal(await pass(guest, to), true);
    assert.equal(await command(tables([], [])), OK);
    for (const to of [OTHER, MULTICAST]) assert.equal(await pass(guest, to), false);
    const many = Array.from({ length: TABLE_MAX + 1 }, (_, i) => [2, 0, 0, 0, 1, i]);
    assert.equal(await command(tables(many, [])), OK);
    assert.equal(await pass(guest, OTHER), true, 'more than are kept: all are received');
    assert.equal(await pass(guest, MULTICAST), false);
    for (const data of [
      [],
      le32(0),
      [...le32(1), ...le32(0)],
      [...le32(0xffff_ffff), ...le32(0)],
      [...tables([OTHER], []), 0],
      tables([OTHER], []).slice(0, -1),
    ])
      assert.equal(await command(data), ERR, `${data}`);
    assert.equal(await pass(guest, OTHER), true, 'a command that fails changes nothing');
  });

  test('§5.1.6.5.2 MAC_ADDR_SET: the configuration space has it, the filter too, and a reset undoes it', async () => {
    await using guest = await bootNet({ mac: MAC });
    await set(guest, spec.VIRTIO_NET_CTRL_RX_PROMISC, 0);
    const command = (data: readonly number[]): Promise<number> =>
      guest.command(spec.VIRTIO_NET_CTRL_MAC, spec.VIRTIO_NET_CTRL_MAC_ADDR_SET, data);
    const mac = (): number[] => [...new Uint8Array(guest.loop.config().buffer, 0, 6)];
    assert.equal(await command(OTHER), OK);
    assert.deepEqual(mac(), OTHER);
    assert.equal(await pass(guest, OTHER), true);
    for (const data of [MULTICAST, [0, 0, 0, 0, 0, 0], OTHER.slice(1), [...OTHER, 0], []])
      assert.equal(await command(data), ERR);
    assert.deepEqual(mac(), OTHER);
    await guest.loop.reset();
    assert.deepEqual(mac(), [0x52, 0x54, 0, 0, 0, 1]);
  });

  const tagged = (vlan: number, priority = 0): Uint8Array => {
    const frame = frameOf(60, { type: [0x81, 0] });
    frame.set([(priority << 5) | (vlan >> 8), vlan & 0xff], 14);
    return frame;
  };
  const passesVlan = async (guest: NetGuest, vlan: number, priority?: number): Promise<boolean> => {
    guest.offer(128);
    const before = guest.device.counters.receivedFrames;
    guest.inject(tagged(vlan, priority));
    await settled();
    guest.receiveq.harvest();
    return guest.device.counters.receivedFrames > before;
  };

  test('§5.1.6.5.3 VLANs: "starts with an empty VLAN filter table", which applies to tagged packets only', async () => {
    await using guest = await bootNet({ mac: MAC });
    const command = (which: number, data: readonly number[]): Promise<number> =>
      guest.command(spec.VIRTIO_NET_CTRL_VLAN, which, data);
    assert.equal(await passesVlan(guest, 5), false);
    assert.equal(await pass(guest, BROADCAST), true);
    assert.equal(await command(spec.VIRTIO_NET_CTRL_VLAN_ADD, le16(0x105)), OK);
    assert.equal(await passesVlan(guest, 0x105, 7), true);
    assert.equal(await passesVlan(guest, 5), false);
    assert.equal(await command(spec.VIRTIO_NET_CTRL_VLAN_DEL, le16(0x105)), OK);
    assert.equal(await passesVlan(guest, 0x105), false);
    for (const data of [[], [1], [1, 0, 0], le16(4096)])
      assert.equal(await command(spec.VIRTIO_NET_CTRL_VLAN_ADD, data), ERR);
  });

  test('§5.1.6.5.3.1 without CTRL_VLAN the device MUST accept all VLAN tagged packets', async () => {
    await using guest = await bootNet({ mac: MAC }, { features: without(spec.VIRTIO_NET_F_CTRL_VLAN)() });
    assert.equal(await passesVlan(guest, 5), true);
  });

  test('§5.1.6.5.4 ANNOUNCE: the bit is set with a notification, and cleared before the command is used', async () => {
    await using guest = await bootNet();
    const status = (): number => guest.loop.config().getUint16(spec.CONFIG.status, true);
    guest.device.announce();
    assert.deepEqual([status(), guest.loop.configChanges], [3, 1]);
    assert.equal(await guest.command(spec.VIRTIO_NET_CTRL_ANNOUNCE, spec.VIRTIO_NET_CTRL_ANNOUNCE_ACK), OK);
    assert.equal(status(), 1);
    guest.device.setLink(false);
    guest.device.setLink(true);
    assert.equal(status(), 3, 'a new peer has not heard of this guest');
    await guest.loop.reset(1n << 32n);
    assert.equal(status(), 1);
    guest.device.announce();
    assert.equal(status(), 1, 'not without the feature');
  });

  test('§5.1.6.5 a command that is not known, not negotiated or of another length is answered with ERR', async () => {
    await using guest = await bootNet({}, { features: without(spec.VIRTIO_NET_F_CTRL_RX)() });
    assert.equal(await guest.command(RX, spec.VIRTIO_NET_CTRL_RX_PROMISC, [0]), ERR);
    assert.equal(await guest.command(RX, 99, [0]), ERR);
    assert.equal(await guest.command(77, 0), ERR);
    assert.equal(await guest.command(RX, spec.VIRTIO_NET_CTRL_RX_ALLUNI, []), ERR);
    assert.equal(await guest.command(RX, spec.VIRTIO_NET_CTRL_RX_ALLUNI, [2]), ERR);
    assert.equal(await guest.command(RX, spec.VIRTIO_NET_CTRL_RX_ALLUNI, [1, 1]), ERR);
    assert.equal(await guest.command(RX, spec.VIRTIO_NET_CTRL_RX_ALLUNI, [1]), OK);
    for (const readable of [[], [Uint8Array.of(1)], [new Uint8Array(300_000)]]) {
      const { written, bytes } = await guest.controlq.request({ readable, writable: [1] });
      assert.deepEqual([written, [...bytes]], [1, [ERR]]);
    }
  });

  test('§5.1.6.5 ack is the first writable byte, and a command without one is not executed', async () => {
    await using guest = await bootNet({ mac: MAC });
    const readable = [Uint8Array.of(RX), Uint8Array.of(spec.VIRTIO_NET_CTRL_RX_PROMISC, 0)];
    assert.equal((await guest.controlq.request({ readable })).written, 0);
    assert.equal(await pass(guest, OTHER), true);
    const { written, bytes } = await guest.controlq.request({ readable, writable: [0, 1, 8] });
    assert.deepEqual([written, bytes[0], bytes[1]], [1, OK, 0xee]);
    assert.equal(await pass(guest, OTHER), false);
  });
});

test('a closed device closes its port', async () => {
  const guest = await bootNet();
  await guest.loop[Symbol.asyncDispose]();
  assert.equal(guest.port.isClosed, true);
  assert.equal(guest.port.onFrame, undefined);
});

function checksumFrom(frame: Uint8Array, start: number): number {
  let sum = 0;
  for (let i = start; i < frame.length; i++) sum += (frame[i] as number) << ((i - start) % 2 === 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
