// test/vhost-user: INFLIGHT_SHMFD in our back end: the area, what a front end may do to it, and the back end after it.
import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { after, test } from 'node:test';
import { F_SEAL_SHRINK } from '../../src/sys/constants.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { Mapping } from '../../src/sys/mapping.ts';
import { createMemfd, sealsOf } from '../../src/sys/memfd.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, type RawFrontEnd, type RawMessage, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import {
  decodeInflight,
  encodeInflight,
  type InflightMessage,
} from '../../src/transports/vhost-user/protocol/message.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { splitInFlightBytes } from '../../src/virtio/split/split-in-flight.ts';
import { FEATURES, negotiate, serveDisk } from './back-end.ts';
import { misdeeds } from './misdeeds.ts';

const QUEUES = 4;
const SIZE = 16;
/** Each queue's part begins at a multiple of 64. */
const PART_BYTES = Math.ceil(splitInFlightBytes(SIZE) / 64) * 64;

function inflight(request: number, fields: Partial<InflightMessage> = {}, fds: readonly number[] = []): RawMessage {
  const whole = { mmapSize: QUEUES * PART_BYTES, mmapOffset: 0, queues: QUEUES, queueSize: SIZE, ...fields };
  return { request, payload: encodeInflight(whole), fds };
}

async function getArea(front: RawFrontEnd): Promise<InflightMessage & { fd: number }> {
  const { payload, fds } = await front.ask(inflight(Request.GET_INFLIGHT_FD, { mmapSize: 0 }));
  assert.equal(fds.length, 1);
  return { ...(decodeInflight(payload) as InflightMessage), fd: fds[0] as number };
}

test('GET_INFLIGHT_FD gives zeroed memory for all queues, sealed against shrinking; the back end keeps none of it', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  await negotiate(front);
  const { fd, ...area } = await getArea(front);
  assert.deepEqual(area, { mmapSize: QUEUES * PART_BYTES, mmapOffset: 0, queues: QUEUES, queueSize: SIZE });
  assert.equal(fstatSync(fd).size, area.mmapSize);
  assert.equal((sealsOf(fd) as number) & F_SEAL_SHRINK, F_SEAL_SHRINK);
  using bytes = Mapping.ofFile(fd, area.mmapSize);
  assert.ok(bytes.bytes.every((byte) => byte === 0));
  closeFd(fd);
});

test('each queue records in its own part; a stop leaves nothing in flight, and another start goes on', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const rings = [guest.ring(0, FEATURES), guest.ring(1, FEATURES)];
  await negotiate(front);
  const { fd } = await getArea(front);
  using area = Mapping.ofFile(fd, QUEUES * PART_BYTES);
  await front.settle(inflight(Request.SET_INFLIGHT_FD, {}, [fd]), setMemTable([guest.region]));
  for (const ring of rings) await front.settle(...ring.start());
  for (const ring of rings) assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
  const words = new Uint16Array(area.bytes.buffer);
  const part = (index: number): number[] => [
    ...words.subarray((index * PART_BYTES) / 2 + 4, (index * PART_BYTES) / 2 + 8),
  ];
  // version, desc_num, last_batch_head, used_idx
  assert.deepEqual(
    [part(0), part(1), part(2)],
    [
      [1, SIZE, 0, 1],
      [1, SIZE, 0, 1],
      [0, 0, 0, 0],
    ],
  );
  const { payload } = await front.ask((rings[0] as (typeof rings)[0]).getBase);
  assert.equal(payload.getUint32(4, true), 1);
  const [ring] = rings as [(typeof rings)[0]];
  await front.settle(...ring.start(1));
  assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
  assert.equal(part(0)[3], 2);
  closeFd(fd);
});

test('an area that does not fit the ring is begun anew: one line, and the ring is served', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  await negotiate(front);
  const { fd } = await getArea(front);
  using area = Mapping.ofFile(fd, QUEUES * PART_BYTES);
  const words = new Uint16Array(area.bytes.buffer);
  words.set([1, SIZE, 0, 0], 4);
  for (let head = 0; head < SIZE; head++) area.bytes[16 + 16 * head] = 1; // all in flight, on a ring with nothing in it
  await front.settle(inflight(Request.SET_INFLIGHT_FD, {}, [fd]), setMemTable([guest.region]), ...ring.start());
  assert.equal((await ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
  await eventually('a line', () =>
    backEnd.lines.some((line) => line.includes('is ignored: 16 requests are in flight in it')),
  );
  closeFd(fd);
});

const { endsSession, leavesNothing } = misdeeds();
const memory = createMemfd('area', QUEUES * PART_BYTES);
const short = createMemfd('area', QUEUES * PART_BYTES);
const event = EventFd.create();
after(() => {
  closeFd(memory);
  closeFd(short);
  event[Symbol.dispose]();
});
const set = (fields: Partial<InflightMessage> = {}, fds = [memory]) => inflight(Request.SET_INFLIGHT_FD, fields, fds);

endsSession('SET_INFLIGHT_FD without a descriptor', /SET_INFLIGHT_FD: 0 descriptors, one belongs to it/, set({}, []));
endsSession('SET_INFLIGHT_FD with two', /SET_INFLIGHT_FD: 2 descriptors/, set({}, [memory, memory]));
endsSession('SET_INFLIGHT_FD with an eventfd', /the descriptor is an eventfd: a memfd/, set({}, [event.fd]));
endsSession('SET_INFLIGHT_FD of a part that is too small', /4 queues of 16 take/, set({ mmapSize: 64 }));
endsSession(
  'SET_INFLIGHT_FD beyond the end of its file',
  /its part ends at byte \d+ of a file of/,
  set({ mmapOffset: 64 }),
);
endsSession('SET_INFLIGHT_FD at an odd offset', /offset 3 is not a multiple of 64/, set({ mmapOffset: 3 }));
endsSession('SET_INFLIGHT_FD of a size beyond every file', /its part ends at byte/, set({ mmapSize: 2 ** 62 }));
for (const request of [Request.GET_INFLIGHT_FD, Request.SET_INFLIGHT_FD]) {
  const name = request === Request.GET_INFLIGHT_FD ? 'GET_INFLIGHT_FD' : 'SET_INFLIGHT_FD';
  const fds = request === Request.GET_INFLIGHT_FD ? [] : [memory];
  endsSession(
    `${name} of more queues than there are`,
    /5 queues of 16; there are 4/,
    inflight(request, { queues: 5 }, fds),
  );
  endsSession(`${name} of no queue`, /0 queues of 16/, inflight(request, { queues: 0 }, fds));
  endsSession(
    `${name} of queues that are too large`,
    /of 65535; there are/,
    inflight(request, { queueSize: 0xffff }, fds),
  );
  endsSession(`${name} that is cut short`, /4 bytes of payload/, { request, payload: new Uint8Array(4), fds });
}
leavesNothing();
