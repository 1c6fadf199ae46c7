// vhost-user: a back end notes what it has in flight (INFLIGHT_SHMFD), and the next one is given the notes. Both are played here.
import assert from 'node:assert/strict';
import { fstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { closeFd } from '../../src/sys/libc.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { Connection, type Outcome } from '../../src/transports/vhost-user/connection.ts';
import {
  decodeInflight,
  encodeConfig,
  encodeInflight,
  encodeMessage,
  encodeU64,
  encodeVringState,
  type Message,
} from '../../src/transports/vhost-user/message.ts';
import * as vu from '../../src/transports/vhost-user/spec.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { SplitRing } from '../../src/virtio/split-ring.ts';
import { VhostUserDisk } from '../../src/vmm/vhost-user-disk.ts';
import { DrivenDisk } from './driven-disk.ts';

const { Request } = vu;
const FEATURES = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | vu.F_PROTOCOL_FEATURES;
const PROTOCOL_FEATURES = vu.PROTOCOL_F_REPLY_ACK | vu.PROTOCOL_F_CONFIG | vu.PROTOCOL_F_INFLIGHT_SHMFD;
const NOTES_BYTES = 4096;

/** Listens, answers what it is asked, serves nothing. */
class NotingBackEnd {
  readonly said: string[] = [];
  /** The inode of the notes it was given, and the base of queue 0. */
  notes: number | undefined;
  base: number | undefined;
  readonly #connection: { current: Connection | undefined } = { current: undefined };
  readonly #listener: UnixListener;
  readonly #watch: Disposable;

  constructor(machine: DrivenDisk, path: string) {
    this.#listener = UnixListener.listen(path);
    this.#watch = machine.loop.watch(this.#listener.fd, () => {
      const socket = this.#listener.accept();
      if (socket === undefined) return;
      this.#connection.current = new Connection(socket, machine.loop, {
        onMessage: (message, done) => {
          this.said.push(vu.requestName(message.request));
          if (message.request !== Request.GET_INFLIGHT_FD) return done(this.#answer(message));
          const fd = createMemfd('notes', NOTES_BYTES);
          const { queues = 0, queueSize = 0 } = decodeInflight(message.payload) ?? {};
          const notes = encodeInflight({ mmapSize: NOTES_BYTES, mmapOffset: 0, queues, queueSize });
          socket.send(encodeMessage(message.request, vu.REPLY, notes), [fd]);
          closeFd(fd);
          done({});
        },
        onClosed: () => {},
      });
    });
  }

  #answer({ request, payload, fds }: Message): Outcome {
    if (request === Request.GET_FEATURES) return { reply: encodeU64(FEATURES) };
    if (request === Request.GET_PROTOCOL_FEATURES) return { reply: encodeU64(PROTOCOL_FEATURES) };
    if (request === Request.GET_CONFIG) return { reply: encodeConfig(0, new Uint8Array(payload.byteLength - 12)) };
    if (request === Request.GET_VRING_BASE) return { reply: encodeVringState(0, this.base ?? 0) };
    if (request === Request.SET_INFLIGHT_FD) this.notes = fstatSync(fds[0] as number).ino;
    if (request === Request.SET_VRING_BASE) this.base = payload.getUint32(4, true);
    return {};
  }

  leave(): void {
    this.#watch[Symbol.dispose]();
    this.#listener[Symbol.dispose]();
    this.#connection.current?.close(undefined);
  }
}

async function plugged(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-inflight-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, 'disk.sock');
  const machine = new DrivenDisk();
  const backEnd = new NotingBackEnd(machine, socket);
  const { loop, log, memory } = machine;
  const disk = await VhostUserDisk.connect({ socket, whenGone: 'wait', memory: [memory], loop, log });
  machine.connect(disk.device, disk.host);
  const hand = await machine.byHand();
  const end = async (last: NotingBackEnd): Promise<void> => {
    await disk.close();
    await machine[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
    last.leave();
  };
  return { machine, backEnd, socket, hand, end };
}

test('the notes of a back end that is gone go to the next, with the used index, and out of order is no matter', async (t) => {
  const { machine, backEnd, socket, hand, end } = await plugged(t);
  assert.ok(backEnd.said.indexOf('SET_INFLIGHT_FD') < backEnd.said.indexOf('SET_VRING_KICK'));
  hand.submit(blockRequest.flush(), blockRequest.flush(), blockRequest.flush());
  const ring = new SplitRing(hand.driver.queue.layout);
  ring.setUsed(0, ring.availableHead(1), 1);
  ring.setUsedIndex(1);
  backEnd.leave();
  const next = new NotingBackEnd(machine, socket);
  await eventually('the ring is started', () => next.said.includes('SET_VRING_ENABLE'));
  assert.equal(next.notes, backEnd.notes);
  assert.equal(next.base, 1);
  assert.ok(!next.said.includes('GET_INFLIGHT_FD'));
  assert.deepEqual(
    machine.lines.filter((line) => line.includes('stopped')),
    [],
  );
  await end(next);
});

test('after a reset there is nothing to note: new notes are asked for', async (t) => {
  const { machine, backEnd, hand, end } = await plugged(t);
  const before = backEnd.notes;
  assert.equal(hand.driver.inFlight, 0);
  await machine.session.writeStatus(0);
  await eventually('new notes', () => backEnd.notes !== before);
  assert.equal(backEnd.said.filter((name) => name === 'GET_INFLIGHT_FD').length, 2);
  await end(backEnd);
});
