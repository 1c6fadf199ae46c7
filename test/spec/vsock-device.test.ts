// VIRTIO 1.3 §5.10, clause by clause: addresses, connections, credit, the end of a connection, events; and limits.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CONNECTIONS_MAX } from '../../src/devices/vsock/connection-table.ts';
import { BUFFER_BYTES_MAX } from '../../src/devices/vsock/credit.ts';
import * as spec from '../../src/devices/vsock/spec.ts';
import { VsockDevice } from '../../src/devices/vsock/vsock-device.ts';
import { VsockHost } from '../../src/ports/vsock-host.ts';
import type { VsockSocket } from '../../src/ports/vsock-socket.ts';
import { eventually } from '../../src/testing/patience.ts';
import { bootVsock, CID, packetOf, type VsockGuest } from '../reference/vsock-guest.ts';

const OP = {
  request: spec.VIRTIO_VSOCK_OP_REQUEST,
  response: spec.VIRTIO_VSOCK_OP_RESPONSE,
  rst: spec.VIRTIO_VSOCK_OP_RST,
  shutdown: spec.VIRTIO_VSOCK_OP_SHUTDOWN,
  rw: spec.VIRTIO_VSOCK_OP_RW,
  update: spec.VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  ask: spec.VIRTIO_VSOCK_OP_CREDIT_REQUEST,
};
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A guest with one open connection, from its port 1000 to a listener at 1234. */
async function connected(
  type: 'stream' | 'seqpacket' = 'stream',
): Promise<{ guest: VsockGuest; socket: VsockSocket; number: number; errors: string[] }> {
  const guest = await bootVsock();
  const number = type === 'stream' ? 1 : 2;
  const { promise, resolve } = Promise.withResolvers<VsockSocket>();
  const errors: string[] = [];
  const onSocket = (socket: VsockSocket): void => {
    socket.on('error', ({ message }) => errors.push(message));
    resolve(socket);
  };
  guest.host.listen(1234, onSocket, { type });
  await guest.send({ op: OP.request, type: number });
  const socket = await promise;
  assert.equal((await guest.next()).op, OP.response);
  return { guest, socket, number, errors };
}

suite('§5.10.4 configuration', () => {
  test('guest_cid is what the device was made with, and read-only', async () => {
    await using guest = await bootVsock();
    assert.equal(guest.loop.config().getBigUint64(0, true), BigInt(CID));
    assert.equal(await guest.loop.writeConfig(0, Uint8Array.of(9)), false);
  });

  test('§5.10.6.4.2 "MUST NOT contain a reserved CID": 0, 1, 2, 0xffffffff and what has more than 32 bits are refused', () => {
    for (const cid of [0, 1, 2, 0xffff_ffff, 2 ** 32, 3.5, -1, Number.NaN])
      assert.throws(() => new VsockDevice({ cid, port: new VsockHost() }), /the CID .*3 to 4294967294 is wanted/);
  });
});

suite('§5.10.6.2 addressing', () => {
  test('a packet from another CID is dropped; one for a CID that is not the host is refused', async () => {
    await using guest = await bootVsock();
    guest.host.listen(1234, () => assert.fail('a connection'));
    await guest.send({ op: OP.request, srcCid: 4 });
    await guest.send({ op: OP.request, srcCid: 2 ** 32 + CID });
    await guest.send({ op: OP.request, dstCid: 5 });
    const { op, srcCid, dstCid, srcPort, dstPort } = await guest.next();
    assert.deepEqual([op, srcCid, dstCid, srcPort, dstPort], [OP.rst, 5, CID, 1234, 1000]);
  });

  test('a packet shorter than a header is dropped', async () => {
    await using guest = await bootVsock();
    for (const length of [0, 1, 43]) await guest.txq.request({ readable: [new Uint8Array(length)], writable: [4] });
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.rst);
  });
});

suite('§5.10.6.4 receive and transmit', () => {
  test('"A VIRTIO_VSOCK_OP_RST reply MUST be sent if a packet is received with an unknown type value"', async () => {
    await using guest = await bootVsock();
    for (const type of [0, 3, 0xffff]) {
      await guest.send({ op: OP.request, type });
      const reply = await guest.next();
      assert.deepEqual([reply.op, reply.type], [OP.rst, type]);
    }
  });

  test('a type that was not negotiated is refused', async () => {
    await using guest = await bootVsock({ features: spec.VIRTIO_VSOCK_F_SEQPACKET | (1n << 32n) });
    guest.host.listen(1234, (socket) => socket.on('error', () => {}));
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.response, 'a stream is implied');
    await guest.loop.reset(spec.VIRTIO_VSOCK_F_SEQPACKET | spec.VIRTIO_VSOCK_F_NO_IMPLIED_STREAM | (1n << 32n));
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.rst, 'no stream is implied');
    await guest.loop.reset(spec.VIRTIO_VSOCK_F_STREAM | (1n << 32n));
    await guest.send({ op: OP.request, type: 2 });
    assert.equal((await guest.next()).op, OP.rst, 'no seqpacket');
  });

  test('every operation but REQUEST and RST is answered with RST where there is no connection', async () => {
    await using guest = await bootVsock();
    for (const op of [OP.rst, OP.response, OP.rw, OP.shutdown, OP.update, OP.ask, 0, 8, 0xffff]) {
      await guest.send({ op, srcPort: op });
      if (op !== OP.rst) assert.deepEqual([(await guest.next()).dstPort], [op]);
    }
  });
});

suite('§5.10.6.5 stream sockets', () => {
  test('a listener gets a connection; a port without one refuses it', async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    assert.deepEqual([socket.guestCid, socket.guestPort, socket.hostPort], [CID, 1000, 1234]);
    await guest.send({ op: OP.request, dstPort: 99 });
    assert.equal((await guest.next()).op, OP.rst);
  });

  test('bytes go both ways, whatever buffers and packets they are in', async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    const packet = packetOf({ op: OP.rw }, bytesOf('from the guest'));
    let heard = '';
    socket.on('data', (piece) => {
      heard += textOf(piece);
    });
    for (const cut of [1, 43, 44, 45, 50]) {
      await guest.txq.request({ readable: [packet.subarray(0, cut), packet.subarray(cut)] });
    }
    await eventually('all bytes', () => heard === 'from the guest'.repeat(5));
    socket.write('from the host');
    for (const lengths of [[10, 40, 10], [44, 3], [43], [44], [80]]) guest.rxq.add({ writable: lengths });
    guest.rxq.kick();
    let said = '';
    while (said.length < 13) {
      for (const { bytes, written } of await guest.rxq.used()) {
        if (written > 0) assert.equal(new DataView(bytes.buffer).getUint32(24, true), written - 44);
        said += textOf(bytes.subarray(44, written));
      }
    }
    assert.equal(said, 'from the host');
  });

  test('regression: a listener that writes, or ends it, before it returns: bytes come after RESPONSE, or RST', async () => {
    await using guest = await bootVsock();
    guest.host.listen(1, (socket) => void socket.on('error', () => {}).write('early'));
    guest.host.listen(2, (socket) => void socket.destroy());
    guest.host.listen(3, (socket) => void socket.on('error', () => {}).destroy(new Error('no')));
    guest.offer(8);
    for (const dstPort of [1, 2, 3]) await guest.send({ op: OP.request, dstPort });
    const packets = [await guest.next(), await guest.next(), await guest.next(), await guest.next()];
    const said = packets.map(({ op, srcPort, data }) => [op, srcPort, textOf(data)]);
    assert.deepEqual(said, [
      [OP.response, 1, ''],
      [OP.rw, 1, 'early'],
      [OP.rst, 2, ''],
      [OP.rst, 3, ''],
    ]);
  });

  test('the host connects: REQUEST, RESPONSE, bytes; RST refuses it', async () => {
    await using guest = await bootVsock();
    const asked = guest.host.connect(77);
    const request = await guest.next();
    assert.deepEqual([request.op, request.dstPort, request.srcCid], [OP.request, 77, 2]);
    const ports = { srcPort: 77, dstPort: request.srcPort };
    await guest.send({ op: OP.response, ...ports });
    const socket = await asked;
    socket.on('error', () => {});
    socket.write('hi');
    assert.equal(textOf((await guest.next()).data), 'hi');
    const refused = guest.host.connect(78);
    const again = await guest.next();
    assert.notEqual(again.srcPort, request.srcPort);
    await guest.send({ op: OP.rst, srcPort: 78, dstPort: again.srcPort });
    await assert.rejects(refused, /guest port 78: the guest refused it/);
  });

  test('the guest sends no more, the host goes on, and ends: both get everything, then RST', async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    await guest.send({ op: OP.rw }, bytesOf('question'));
    await guest.send({ op: OP.shutdown, flags: spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND });
    let heard = '';
    for await (const piece of socket.iterator({ destroyOnReturn: false })) heard += textOf(piece);
    assert.equal(heard, 'question');
    socket.end('answer');
    assert.equal(textOf((await guest.next()).data), 'answer');
    const last = await guest.next();
    assert.deepEqual([last.op, last.flags], [OP.shutdown, spec.SHUTDOWN_BOTH]);
    await guest.send({ op: OP.rst });
    await eventually('it is over', () => guest.device.connections === 0 && socket.destroyed);
  });

  test('the guest closes: it gets RST when the host has read everything, and the ports are free', async () => {
    const { guest, socket, errors } = await connected();
    await using _guest = guest;
    await guest.send({ op: OP.rw }, bytesOf('last words'));
    await guest.send({ op: OP.shutdown, flags: spec.SHUTDOWN_BOTH });
    assert.equal(guest.device.connections, 1, 'the host has not read it');
    let heard = '';
    socket.on('data', (piece) => {
      heard += textOf(piece);
    });
    assert.equal((await guest.next()).op, OP.rst);
    await eventually('the end', () => socket.destroyed);
    assert.deepEqual([heard, guest.device.connections, errors], ['last words', 0, []]);
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.response);
  });

  test('the guest closes and does not wait for a slow host, which still gets the rest', async () => {
    const { guest, socket, errors } = await connected();
    await using _guest = guest;
    await guest.send({ op: OP.rw }, bytesOf('last words'));
    await guest.send({ op: OP.shutdown, flags: spec.SHUTDOWN_BOTH });
    await guest.send({ op: OP.rst });
    let heard = '';
    for await (const piece of socket) heard += textOf(piece);
    assert.equal(heard, 'last words');
    await eventually('it is over', () => guest.device.connections === 0);
    assert.deepEqual(errors, []);
  });

  test('the host closes: SHUTDOWN after its bytes, and RST by the guest ends it', async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    socket.end('bye');
    assert.equal(textOf((await guest.next()).data), 'bye');
    assert.deepEqual([(await guest.next()).flags], [spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND]);
    socket.destroy();
    assert.deepEqual([(await guest.next()).flags], [spec.SHUTDOWN_BOTH]);
    await guest.send({ op: OP.rst });
    assert.equal(guest.device.connections, 0);
  });

  test('a guest that receives no more gets nothing, and a write fails with EPIPE', async () => {
    const { guest, socket, errors } = await connected();
    await using _guest = guest;
    await guest.send({ op: OP.shutdown, flags: spec.VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE });
    socket.write('nobody reads this');
    await eventually('the error', () => errors.length > 0);
    assert.match(errors[0] as string, /the guest receives no more/);
  });

  test('RST ends it at once, on either side', async () => {
    const first = await connected();
    await using _first = first.guest;
    await first.guest.send({ op: OP.rst });
    await eventually('the error', () => first.errors.length > 0);
    assert.match(first.errors[0] as string, /guest port 1000: the guest reset it/);
    const second = await connected();
    await using _second = second.guest;
    second.socket.destroy(new Error('enough'));
    assert.equal((await second.guest.next()).op, OP.rst);
    assert.equal(second.guest.device.connections, 0);
  });
});

const violations: readonly (readonly [string, Parameters<typeof packetOf>[0], number, RegExp])[] = [
  ['a second REQUEST', { op: OP.request }, 0, /operation 1/],
  ['a RESPONSE that nobody asked for', { op: OP.response }, 0, /operation 2/],
  ['an operation that does not exist', { op: 9 }, 0, /operation 9/],
  ['a length beyond its buffer', { op: OP.rw, len: 100 }, 10, /100 bytes in a buffer of 54/],
  ['a length of 4 GiB', { op: OP.rw, len: 0xffff_ffff }, 10, /4294967295 bytes/],
  ['a fwd_cnt of more than it was sent', { op: OP.update, fwdCnt: 1 }, 0, /took more than it was sent/],
];
for (const [what, fields, length, why] of violations) {
  test(`§5.10.6 ${what} resets the connection, and no other`, async () => {
    const { guest, errors } = await connected();
    await using _guest = guest;
    await guest.send({ op: OP.request, srcPort: 2 });
    assert.equal((await guest.next()).op, OP.response);
    await guest.send(fields, new Uint8Array(length));
    assert.deepEqual([(await guest.next()).op], [OP.rst]);
    await eventually('the error', () => errors.length > 0);
    assert.match(errors[0] as string, why);
    assert.equal(guest.device.connections, 1);
  });
}

suite('§5.10.6.3 buffer space management', () => {
  test('"MUST only be transmitted when the peer has sufficient free buffer space for the payload": not a byte more', async () => {
    await using guest = await bootVsock();
    guest.host.listen(1234, (socket) => void socket.on('error', () => {}).write(new Uint8Array(30)));
    await guest.send({ op: OP.request, bufAlloc: 10 });
    assert.equal((await guest.next()).op, OP.response);
    assert.equal((await guest.next()).len, 10);
    assert.equal((await guest.next()).op, OP.ask);
    await guest.send({ op: OP.update, bufAlloc: 10, fwdCnt: 4 });
    assert.equal((await guest.next()).len, 4);
    assert.equal((await guest.next()).op, OP.ask);
    await guest.send({ op: OP.update, bufAlloc: 12, fwdCnt: 4 });
    assert.equal((await guest.next()).len, 2);
    await guest.send({ op: OP.update, bufAlloc: 0, fwdCnt: 16 });
    await guest.send({ op: OP.update, bufAlloc: 100, fwdCnt: 16 });
    assert.equal((await guest.next()).len, 14);
  });

  test('a guest that sends more than buf_alloc is reset', async () => {
    const { guest, socket, errors } = await connected();
    await using _guest = guest;
    for (let sent = 0; sent < BUFFER_BYTES_MAX; sent += 32768) await guest.send({ op: OP.rw }, new Uint8Array(32768));
    assert.deepEqual([socket.readableLength, errors], [0, []], 'nobody has read');
    await guest.send({ op: OP.rw }, Uint8Array.of(1));
    assert.equal((await guest.next()).op, OP.rst);
    await eventually('the error', () => errors.length > 0);
    assert.match(errors[0] as string, /more than it has credit for/);
  });

  test('fwd_cnt is what was taken: an update comes when half the buffer is free again, and on request', async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    const half = BUFFER_BYTES_MAX / 2;
    for (let sent = 0; sent < BUFFER_BYTES_MAX; sent += 32768) await guest.send({ op: OP.rw }, new Uint8Array(32768));
    await guest.send({ op: OP.ask });
    const before = await guest.next();
    assert.equal(before.op, OP.update);
    assert.ok(before.fwdCnt < half);
    socket.resume();
    let last = before;
    while (last.fwdCnt < half) last = await guest.next();
    assert.deepEqual([last.op, last.bufAlloc], [OP.update, BUFFER_BYTES_MAX]);
  });
});

suite('§5.10.6.6 seqpacket sockets', () => {
  test('messages keep their boundaries both ways, over any packets', async () => {
    const { guest, socket, number } = await connected('seqpacket');
    await using _guest = guest;
    const heard: string[] = [];
    socket.on('data', (message) => heard.push(textOf(message)));
    const rw = { op: OP.rw, type: number };
    await guest.send(rw, bytesOf('one '));
    await guest.send({ ...rw, flags: spec.VIRTIO_VSOCK_SEQ_EOM }, bytesOf('message'));
    await guest.send({ ...rw, flags: spec.VIRTIO_VSOCK_SEQ_EOM | spec.VIRTIO_VSOCK_SEQ_EOR }, bytesOf('two'));
    await guest.send({ ...rw, flags: spec.VIRTIO_VSOCK_SEQ_EOM });
    await eventually('three messages', () => heard.length === 3);
    assert.deepEqual(heard, ['one message', 'two', '']);
    socket.write(new Uint8Array(5000).fill(65));
    socket.write('short');
    const packets = [await guest.next(), await guest.next(), await guest.next()];
    assert.deepEqual(
      packets.map(({ len, flags }) => [len, flags]),
      [
        [4052, 0],
        [948, 1],
        [5, 1],
      ],
    );
  });

  test('a message whose rest never comes is bounded by credit', async () => {
    const { guest, number, errors } = await connected('seqpacket');
    await using _guest = guest;
    const rw = { op: OP.rw, type: number };
    for (let sent = 0; sent <= BUFFER_BYTES_MAX; sent += 32768) await guest.send(rw, new Uint8Array(32768));
    assert.equal((await guest.next()).op, OP.rst);
    await eventually('the error', () => errors.length > 0);
    assert.match(errors[0] as string, /more than it has credit for/);
  });
});

suite('§5.10.6.7 device events', () => {
  test('regression: the first driver of a device is sent no event; one that was moved is', async () => {
    await using guest = await bootVsock();
    for (const length of [8, 2, 4]) guest.eventq.add({ writable: [length] });
    guest.eventq.kick();
    guest.host.listen(1234, (socket) => socket.on('error', () => {}));
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.response);
    assert.equal(guest.eventq.inFlight, 3, 'no event');
    (guest.device as VsockDevice).transportReset();
    assert.equal(guest.device.connections, 0);
    guest.device.transportReset();
    const lengths: number[] = [];
    while (guest.eventq.inFlight > 0) lengths.push(...(await guest.eventq.used()).map(({ written }) => written));
    assert.deepEqual(lengths, [4, 0, 4], 'a buffer that is too small comes back');
  });

  test('regression: a driver whose ring another process has used is told, and so are connections made before', async () => {
    await using guest = await bootVsock({ start: 7 });
    guest.offer(1);
    guest.host.listen(1234, (socket) => socket.on('error', () => {}));
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.response);
    assert.equal((await guest.eventq.request({ writable: [4] })).written, 4);
    assert.equal(guest.device.connections, 0, 'the driver has closed it');
    await guest.send({ op: OP.request });
    assert.equal((await guest.next()).op, OP.response);
    await guest.loop.pause();
    await guest.loop.resume();
    await guest.send({ op: OP.rw }, bytesOf('on'));
    assert.equal(guest.device.connections, 1, 'a pause is no other driver');
  });
});

suite('limits', () => {
  test(`a guest that opens more than ${CONNECTIONS_MAX} connections gets RST, and the others go on`, async () => {
    const { guest, socket } = await connected();
    await using _guest = guest;
    const ops = { response: 1, rst: 0 };
    for (let i = 0; i < CONNECTIONS_MAX + 100; i++) {
      await guest.send({ op: OP.request, srcPort: 2000 + i });
      const { op } = await guest.next();
      if (op === OP.response) ops.response++;
      else ops.rst++;
    }
    assert.deepEqual(ops, { response: CONNECTIONS_MAX, rst: 101 });
    socket.write('still here');
    assert.equal(textOf((await guest.next()).data), 'still here');
  });

  test('a guest that gives no receive buffers is not read beyond the replies that are kept', async () => {
    await using guest = await bootVsock({ size: 16 });
    for (let i = 0; i < 256; i++) await guest.send({ op: OP.rw, srcPort: i });
    guest.txq.add({ readable: [packetOf({ op: OP.rw, srcPort: 256 })] });
    guest.txq.kick();
    await guest.loop.pause();
    assert.equal(guest.txq.inFlight, 1);
    await guest.loop.resume();
    for (let i = 0; i <= 256; i++) assert.equal((await guest.next()).dstPort, i);
    assert.equal((await guest.txq.used()).length, 1);
  });

  test('regression: packets that waited for room among the replies are processed when one queue makes it', async () => {
    await using guest = await bootVsock({ size: 256 });
    for (let i = 0; i < 255; i++) await guest.send({ op: OP.rw, srcPort: i });
    for (let i = 255; i < 265; i++) guest.txq.add({ readable: [packetOf({ op: OP.rw, srcPort: i })] });
    for (let i = 0; i < 256; i++) guest.rxq.add({ writable: [44] });
    guest.rxq.ring.publish();
    guest.txq.kick();
    for (let i = 0; i < 265; i++) assert.equal((await guest.next()).dstPort, i);
  });
});
