// The messages that the blocking front end sends, their order, and its handling of answers.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { closeFd } from '../../../sys/libc.ts';
import { createMemfd } from '../../../sys/memfd.ts';
import { UnixListener, UnixSocket } from '../../../sys/unix-socket.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import {
  decodeHeader,
  encodeConfig,
  encodeInflight,
  encodeMessage,
  encodeU64,
  encodeVringState,
} from '../protocol/message.ts';
import * as spec from '../protocol/spec.ts';
import { VhostUserFrontEnd } from './blocking.ts';

const { Request } = spec;

interface Sent {
  readonly name: string;
  readonly needsReply: boolean;
  readonly payload: DataView<ArrayBuffer>;
}

/** A back end that writes its answers in advance, and then reads the messages. */
class Script {
  readonly socket: UnixSocket;
  readonly #theirs: UnixSocket;
  readonly #fds: number[] = [];

  constructor(t: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'belfry-frontend-'));
    t.after(() => rmSync(folder, { recursive: true }));
    using listener = UnixListener.listen(join(folder, 's'));
    this.socket = UnixSocket.connect(join(folder, 's'));
    this.#theirs = listener.accept() as UnixSocket;
    t.after(() => {
      this.#theirs[Symbol.dispose]();
      for (const fd of this.#fds) closeFd(fd);
    });
  }

  answer(request: number, payload: Uint8Array | bigint, fds: readonly number[] = []): this {
    const bytes = typeof payload === 'bigint' ? encodeU64(payload) : payload;
    this.#theirs.send(encodeMessage(request, spec.REPLY, bytes), fds);
    return this;
  }

  acknowledge(...requests: number[]): this {
    for (const request of requests) this.answer(request, 0n);
    return this;
  }

  /** Returns the messages that the front end sent since the last call. */
  received(): Sent[] {
    const bytes = new Uint8Array(16 * 1024);
    let length = 0;
    for (let more = 1; more > 0; length += more) {
      more = this.#theirs.receive(bytes.subarray(length), this.#fds) ?? 0;
    }
    const sent: Sent[] = [];
    for (let at = 0; at < length; ) {
      const { request, flags, size } = decodeHeader(new DataView(bytes.buffer, at));
      const payload = new DataView(bytes.buffer, at + spec.HEADER_BYTES, size);
      sent.push({ name: spec.requestName(request), needsReply: (flags & spec.NEED_REPLY) !== 0, payload });
      at += spec.HEADER_BYTES + size;
    }
    return sent;
  }

  get fdCount(): number {
    return this.#fds.length;
  }
}

const ALL = spec.PROTOCOL_F_MQ | spec.PROTOCOL_F_REPLY_ACK | spec.PROTOCOL_F_CONFIG;
const timeoutMs = 500;

async function negotiated(
  t: TestContext,
  protocolFeatures: bigint,
  inFlight = false,
): Promise<{ script: Script; frontEnd: VhostUserFrontEnd }> {
  const script = new Script(t);
  script.answer(Request.GET_FEATURES, spec.F_PROTOCOL_FEATURES | 0x2000n);
  script.answer(Request.GET_PROTOCOL_FEATURES, protocolFeatures);
  if ((protocolFeatures & spec.PROTOCOL_F_MQ) !== 0n) script.answer(Request.GET_QUEUE_NUM, 4n);
  if ((protocolFeatures & spec.PROTOCOL_F_REPLY_ACK) !== 0n) script.acknowledge(Request.SET_OWNER);
  const frontEnd = await VhostUserFrontEnd.on(script.socket, { timeoutMs, inFlight });
  t.after(() => frontEnd[Symbol.dispose]());
  return { script, frontEnd };
}

const names = (sent: readonly Sent[]): string[] => sent.map(({ name }) => name);

test('it takes the protocol features that both sides know, and sends the messages that they allow', async (t) => {
  const { script, frontEnd } = await negotiated(t, ALL | spec.PROTOCOL_F_STATUS);
  const sent = script.received();
  assert.deepEqual(names(sent), [
    'GET_FEATURES',
    'GET_PROTOCOL_FEATURES',
    'SET_PROTOCOL_FEATURES',
    'GET_QUEUE_NUM',
    'SET_OWNER',
  ]);
  assert.equal(sent[2]?.payload.getBigUint64(0, true), ALL);
  assert.deepEqual([frontEnd.queueCount, frontEnd.protocolFeatures], [4, ALL]);
});

test('without protocol features none are requested, and rings need no SET_VRING_ENABLE', async (t) => {
  const script = new Script(t).answer(Request.GET_FEATURES, 0x2000n);
  using frontEnd = await VhostUserFrontEnd.on(script.socket, { timeoutMs });
  const fd = createMemfd('t', 4096);
  t.after(() => closeFd(fd));
  await frontEnd.setFeatures(0x2000n);
  await frontEnd.shareMemory([{ guestAddress: 0x1000, sizeBytes: 4096, fd }]);
  const ring = { size: 4, descriptorArea: 0x1000, driverArea: 0x1100, deviceArea: 0x1200 };
  await frontEnd.startQueue(0, { ...ring, kickFd: undefined, callFd: undefined });
  const sent = script.received();
  assert.deepEqual(names(sent), [
    'GET_FEATURES',
    'SET_OWNER',
    'SET_FEATURES',
    'SET_MEM_TABLE',
    'SET_VRING_NUM',
    'SET_VRING_BASE',
    'SET_VRING_ADDR',
    'SET_VRING_CALL',
    'SET_VRING_KICK',
  ]);
  assert.equal(sent[2]?.payload.getBigUint64(0, true), 0x2000n);
  assert.equal(sent[8]?.payload.getBigUint64(0, true), BigInt(spec.VRING_NOFD));
  await assert.rejects(frontEnd.readConfig(0, 8), /GET_CONFIG: the back end does not offer/);
});

test('ring addresses are sent as user addresses, which differ from guest addresses', async (t) => {
  const { script, frontEnd } = await negotiated(t, 0n);
  const fd = createMemfd('t', 8192);
  t.after(() => closeFd(fd));
  await frontEnd.shareMemory([{ guestAddress: 0x10000, sizeBytes: 4096, fd, fileOffset: 4096 }]);
  const ring = { size: 4, descriptorArea: 0x10000, driverArea: 0x10100, deviceArea: 0x10200, base: 7 };
  await frontEnd.startQueue(3, { ...ring, kickFd: fd, callFd: fd });
  const sent = new Map(script.received().map(({ name, payload }) => [name, payload]));
  const region = sent.get('SET_MEM_TABLE') as DataView;
  const [guest, , user, offset] = [8, 16, 24, 32].map((at) => Number(region.getBigUint64(at, true)));
  const address = sent.get('SET_VRING_ADDR') as DataView;
  const [table, used, available] = [8, 16, 24].map((at) => Number(address.getBigUint64(at, true)));
  assert.notEqual(user, guest);
  assert.deepEqual([table, available, used], [user, Number(user) + 0x100, Number(user) + 0x200]);
  assert.equal(offset, 4096);
  assert.equal(sent.get('SET_VRING_BASE')?.getUint32(4, true), 7);
  assert.equal(sent.get('SET_VRING_KICK')?.getBigUint64(0, true), 3n);
  assert.equal(sent.get('SET_VRING_ENABLE')?.getUint32(4, true), 1);
  assert.equal(script.fdCount, 3);
});

test('with CONFIGURE_MEM_SLOTS each region is a message, and more regions than slots are refused', async (t) => {
  const { script, frontEnd } = await negotiated(t, spec.PROTOCOL_F_CONFIGURE_MEM_SLOTS);
  const fd = createMemfd('t', 8192);
  t.after(() => closeFd(fd));
  script.received();
  const regions = [0x1000, 0x9000].map((guestAddress) => ({ guestAddress, sizeBytes: 4096, fd }));
  script.answer(Request.GET_MAX_MEM_SLOTS, 2n);
  await frontEnd.shareMemory(regions);
  assert.deepEqual(names(script.received()), ['GET_MAX_MEM_SLOTS', 'ADD_MEM_REG', 'ADD_MEM_REG']);
  assert.equal(script.fdCount, 2);
  script.answer(Request.GET_MAX_MEM_SLOTS, 1n);
  await assert.rejects(frontEnd.shareMemory(regions), /takes 1 regions, not 2/);
});

test('with REPLY_ACK a refusal is an error of the message that was refused', async (t) => {
  const { script, frontEnd } = await negotiated(t, ALL);
  script.answer(Request.SET_FEATURES, 1n);
  await assert.rejects(
    frontEnd.setFeatures(1n),
    (error) => error instanceof BackEndError && error.message === 'SET_FEATURES: the back end refused it (answer 1)',
  );
  assert.ok(script.received().at(-1)?.needsReply);
});

test('the configuration space is read at the offset asked for, and an empty answer is a refusal', async (t) => {
  const { script, frontEnd } = await negotiated(t, ALL);
  script.answer(Request.GET_CONFIG, encodeConfig(8, Uint8Array.of(1, 2, 3, 4)));
  assert.deepEqual([...(await frontEnd.readConfig(8, 4))], [1, 2, 3, 4]);
  script.answer(Request.GET_CONFIG, new Uint8Array(0));
  await assert.rejects(frontEnd.readConfig(8, 4), /GET_CONFIG: the back end refused it/);
  script.answer(Request.GET_CONFIG, encodeConfig(8, Uint8Array.of(1)));
  await assert.rejects(frontEnd.readConfig(8, 4), /answered 13 bytes to a question for 4/);
  script.acknowledge(Request.SET_CONFIG);
  script.received();
  await frontEnd.writeConfig(32, Uint8Array.of(1));
  const [sent] = script.received();
  assert.deepEqual([sent?.payload.getUint32(0, true), sent?.payload.getUint32(4, true)], [32, 1]);
});

test('stopping a queue returns its base', async (t) => {
  const { script, frontEnd } = await negotiated(t, ALL);
  script.answer(Request.GET_VRING_BASE, encodeVringState(2, 65535));
  assert.equal(await frontEnd.stopQueue(2), 65535);
});

test('a ring outside the shared memory is refused before any message is sent', async (t) => {
  const { frontEnd } = await negotiated(t, 0n);
  const ring = { size: 4, descriptorArea: 0x1000, driverArea: 0x1100, deviceArea: 0x1200 };
  await assert.rejects(frontEnd.startQueue(0, { ...ring, kickFd: undefined, callFd: undefined }), RangeError);
});

test('regression: an impossible number of queues is refused', async (t) => {
  for (const count of [0n, 257n, 65_536n, 2n ** 27n, 2n ** 64n - 1n]) {
    const script = new Script(t);
    script.answer(Request.GET_FEATURES, spec.F_PROTOCOL_FEATURES);
    script.answer(Request.GET_PROTOCOL_FEATURES, spec.PROTOCOL_F_MQ).answer(Request.GET_QUEUE_NUM, count);
    const says = new RegExp(`^GET_QUEUE_NUM: the back end says that it has ${count} queues`);
    await assert.rejects(VhostUserFrontEnd.on(script.socket, { timeoutMs }), { message: says });
  }
});

test('an inflight area is asked of the back end and passed to it, where both sides use it', async (t) => {
  const { script, frontEnd } = await negotiated(t, ALL | spec.PROTOCOL_F_INFLIGHT_SHMFD, true);
  const area = createMemfd('area', 8192);
  t.after(() => closeFd(area));
  const inflight = encodeInflight({ mmapSize: 8192, mmapOffset: 0, queues: 2, queueSize: 256 });
  script.answer(Request.GET_INFLIGHT_FD, inflight, [area]).acknowledge(Request.SET_INFLIGHT_FD);
  script.received();
  assert.equal(await frontEnd.shareInflight([128, 256]), true);
  const sent = script.received();
  assert.deepEqual(names(sent), ['GET_INFLIGHT_FD', 'SET_INFLIGHT_FD']);
  assert.deepEqual([sent[0]?.payload.getUint16(16, true), sent[0]?.payload.getUint16(18, true)], [2, 256]);
  assert.equal(script.fdCount, 1);
});

test('no inflight area is shared where the back end does not offer it, or it was not asked for', async (t) => {
  for (const [offered, inFlight] of [
    [ALL, true],
    [ALL | spec.PROTOCOL_F_INFLIGHT_SHMFD, false],
  ] as const) {
    const { script, frontEnd } = await negotiated(t, offered, inFlight);
    script.received();
    assert.equal(await frontEnd.shareInflight([256]), false);
    assert.deepEqual(script.received(), []);
  }
});
