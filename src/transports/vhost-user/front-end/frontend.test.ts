// Ground floor: what the front end says, in which order, and what it makes of the answers.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { closeFd } from '../../../sys/libc.ts';
import { createMemfd } from '../../../sys/memfd.ts';
import { UnixListener, UnixSocket } from '../../../sys/unix-socket.ts';
import { BackEndError } from '../protocol/back-end-error.ts';
import { decodeHeader, encodeConfig, encodeMessage, encodeU64, encodeVringState } from '../protocol/message.ts';
import * as spec from '../protocol/spec.ts';
import { VhostUserFrontEnd } from './frontend.ts';

const { Request } = spec;

interface Said {
  readonly name: string;
  readonly needsReply: boolean;
  readonly payload: DataView<ArrayBuffer>;
}

/** A back end that answered everything before it was asked, and then reads what it was asked. */
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

  answer(request: number, payload: Uint8Array | bigint): this {
    const bytes = typeof payload === 'bigint' ? encodeU64(payload) : payload;
    this.#theirs.send(encodeMessage(request, spec.REPLY, bytes));
    return this;
  }

  acknowledge(...requests: number[]): this {
    for (const request of requests) this.answer(request, 0n);
    return this;
  }

  /** What the front end said since last asked. */
  heard(): Said[] {
    const bytes = new Uint8Array(16 * 1024);
    let length = 0;
    for (let more = 1; more > 0; length += more) {
      more = this.#theirs.receive(bytes.subarray(length), this.#fds) ?? 0;
    }
    const said: Said[] = [];
    for (let at = 0; at < length; ) {
      const { request, flags, size } = decodeHeader(new DataView(bytes.buffer, at));
      const payload = new DataView(bytes.buffer, at + spec.HEADER_BYTES, size);
      said.push({ name: spec.requestName(request), needsReply: (flags & spec.NEED_REPLY) !== 0, payload });
      at += spec.HEADER_BYTES + size;
    }
    return said;
  }

  get fdCount(): number {
    return this.#fds.length;
  }
}

const ALL = spec.PROTOCOL_F_MQ | spec.PROTOCOL_F_REPLY_ACK | spec.PROTOCOL_F_CONFIG;
const timeoutMs = 500;

function negotiated(t: TestContext, protocolFeatures: bigint): { script: Script; frontEnd: VhostUserFrontEnd } {
  const script = new Script(t);
  script.answer(Request.GET_FEATURES, spec.F_PROTOCOL_FEATURES | 0x2000n);
  script.answer(Request.GET_PROTOCOL_FEATURES, protocolFeatures);
  if ((protocolFeatures & spec.PROTOCOL_F_MQ) !== 0n) script.answer(Request.GET_QUEUE_NUM, 4n);
  if ((protocolFeatures & spec.PROTOCOL_F_REPLY_ACK) !== 0n) script.acknowledge(Request.SET_OWNER);
  const frontEnd = VhostUserFrontEnd.negotiate(script.socket, { timeoutMs });
  t.after(() => frontEnd[Symbol.dispose]());
  return { script, frontEnd };
}

const names = (said: readonly Said[]): string[] => said.map(({ name }) => name);

test('it takes the protocol features that both sides know, and asks for what they promise', (t) => {
  const { script, frontEnd } = negotiated(t, ALL | spec.PROTOCOL_F_STATUS);
  const said = script.heard();
  assert.deepEqual(names(said), [
    'GET_FEATURES',
    'GET_PROTOCOL_FEATURES',
    'SET_PROTOCOL_FEATURES',
    'GET_QUEUE_NUM',
    'SET_OWNER',
  ]);
  assert.equal(said[2]?.payload.getBigUint64(0, true), ALL);
  assert.deepEqual([frontEnd.queueCount, frontEnd.protocolFeatures], [4, ALL]);
});

test('a back end without protocol features is asked for none, and its rings need no enabling', (t) => {
  const script = new Script(t).answer(Request.GET_FEATURES, 0x2000n);
  using frontEnd = VhostUserFrontEnd.negotiate(script.socket, { timeoutMs });
  const fd = createMemfd('t', 4096);
  t.after(() => closeFd(fd));
  frontEnd.setFeatures(0x2000n);
  frontEnd.shareMemory([{ guestAddress: 0x1000, sizeBytes: 4096, fd }]);
  const ring = { size: 4, descriptorTable: 0x1000, availableRing: 0x1100, usedRing: 0x1200 };
  frontEnd.startQueue(0, { ...ring, kickFd: undefined, callFd: undefined });
  const said = script.heard();
  assert.deepEqual(names(said), [
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
  assert.equal(said[2]?.payload.getBigUint64(0, true), 0x2000n);
  assert.equal(said[8]?.payload.getBigUint64(0, true), BigInt(spec.VRING_NOFD));
  assert.throws(() => frontEnd.readConfig(0, 8), /GET_CONFIG: the back end does not offer/);
});

test('ring addresses are user addresses, which are not the guest addresses of the same memory', (t) => {
  const { script, frontEnd } = negotiated(t, 0n);
  const fd = createMemfd('t', 8192);
  t.after(() => closeFd(fd));
  frontEnd.shareMemory([{ guestAddress: 0x10000, sizeBytes: 4096, fd, mmapOffset: 4096 }]);
  const ring = { size: 4, descriptorTable: 0x10000, availableRing: 0x10100, usedRing: 0x10200, base: 7 };
  frontEnd.startQueue(3, { ...ring, kickFd: fd, callFd: fd });
  const said = new Map(script.heard().map(({ name, payload }) => [name, payload]));
  const region = said.get('SET_MEM_TABLE') as DataView;
  const [guest, , user, offset] = [8, 16, 24, 32].map((at) => Number(region.getBigUint64(at, true)));
  const address = said.get('SET_VRING_ADDR') as DataView;
  const [table, used, available] = [8, 16, 24].map((at) => Number(address.getBigUint64(at, true)));
  assert.notEqual(user, guest);
  assert.deepEqual([table, available, used], [user, Number(user) + 0x100, Number(user) + 0x200]);
  assert.equal(offset, 4096);
  assert.equal(said.get('SET_VRING_BASE')?.getUint32(4, true), 7);
  assert.equal(said.get('SET_VRING_KICK')?.getBigUint64(0, true), 3n);
  assert.equal(said.get('SET_VRING_ENABLE')?.getUint32(4, true), 1);
  assert.equal(script.fdCount, 3);
});

test('with CONFIGURE_MEM_SLOTS each region is added by itself, and no more than the back end has slots for', (t) => {
  const { script, frontEnd } = negotiated(t, spec.PROTOCOL_F_CONFIGURE_MEM_SLOTS);
  const fd = createMemfd('t', 8192);
  t.after(() => closeFd(fd));
  script.heard();
  const regions = [0x1000, 0x9000].map((guestAddress) => ({ guestAddress, sizeBytes: 4096, fd }));
  script.answer(Request.GET_MAX_MEM_SLOTS, 2n);
  frontEnd.shareMemory(regions);
  assert.deepEqual(names(script.heard()), ['GET_MAX_MEM_SLOTS', 'ADD_MEM_REG', 'ADD_MEM_REG']);
  assert.equal(script.fdCount, 2);
  script.answer(Request.GET_MAX_MEM_SLOTS, 1n);
  assert.throws(() => frontEnd.shareMemory(regions), /takes 1 regions, not 2/);
});

test('with REPLY_ACK a refusal is an error of the message that was refused', (t) => {
  const { script, frontEnd } = negotiated(t, ALL);
  script.answer(Request.SET_FEATURES, 1n);
  assert.throws(
    () => frontEnd.setFeatures(1n),
    (error) => error instanceof BackEndError && error.message === 'SET_FEATURES: the back end refused it (answer 1)',
  );
  assert.ok(script.heard().at(-1)?.needsReply);
});

test('the configuration space is read at the offset asked for, and an empty answer is a refusal', (t) => {
  const { script, frontEnd } = negotiated(t, ALL);
  script.answer(Request.GET_CONFIG, encodeConfig(8, Uint8Array.of(1, 2, 3, 4)));
  assert.deepEqual([...frontEnd.readConfig(8, 4)], [1, 2, 3, 4]);
  script.answer(Request.GET_CONFIG, new Uint8Array(0));
  assert.throws(() => frontEnd.readConfig(8, 4), /GET_CONFIG: the back end refused it/);
  script.answer(Request.GET_CONFIG, encodeConfig(8, Uint8Array.of(1)));
  assert.throws(() => frontEnd.readConfig(8, 4), /answered 13 bytes to a question for 4/);
  script.acknowledge(Request.SET_CONFIG);
  script.heard();
  frontEnd.writeConfig(32, Uint8Array.of(1));
  const [said] = script.heard();
  assert.deepEqual([said?.payload.getUint32(0, true), said?.payload.getUint32(4, true)], [32, 1]);
});

test('a stopped queue gives its base', (t) => {
  const { script, frontEnd } = negotiated(t, ALL);
  script.answer(Request.GET_VRING_BASE, encodeVringState(2, 65535));
  assert.equal(frontEnd.stopQueue(2), 65535);
});

test('a ring outside the shared memory is refused here, before a back end could trip over it', (t) => {
  const { frontEnd } = negotiated(t, 0n);
  const ring = { size: 4, descriptorTable: 0x1000, availableRing: 0x1100, usedRing: 0x1200 };
  assert.throws(() => frontEnd.startQueue(0, { ...ring, kickFd: undefined, callFd: undefined }), RangeError);
});
