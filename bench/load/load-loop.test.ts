// bench/load: the loops against a device in the same thread, correct or faulty.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { EventFd } from '../../src/sys/event-fd.ts';
import { DescriptorChain } from '../../src/virtio/descriptor-chain.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { BlockPicker } from './block-picker.ts';
import { DriverRing } from './driver-ring.ts';
import { LoadLoop } from './load-loop.ts';
import { PacedLoop } from './paced-loop.ts';
import { planQueue } from './queue-plan.ts';
import { RequestSlots } from './request-slots.ts';
import { VerifyLoop, type VerifyParts } from './verify-loop.ts';

const GUEST_BASE = 0x4000_0000;
const BLOCKS = 64;
const BLOCK_BYTES = 512;

/** A fault of the device after it served a request. Returns the id and length to report; undefined: the right ones. */
type Mischief = (request: {
  count: number;
  id: number;
  write: boolean;
  disk: Uint8Array;
  status: Uint8Array;
}) => { id?: number; length?: number } | undefined;

/** A disk of 64 blocks that serves all available requests whenever the loop looks. */
function parts(kind: VerifyParts['kind'], mischief: Mischief = () => undefined): VerifyParts & { disk: Uint8Array } {
  const plan = planQueue(0, { depth: 8, blockBytes: BLOCK_BYTES, segmentBytesMax: 1 << 20 });
  const bytes = new Uint8Array(plan.end);
  const memory = new GuestMemory([{ guestAddress: GUEST_BASE, bytes }]);
  const table = new DataView(bytes.buffer, plan.descriptorArea, 16 * plan.size);
  const avail = new Uint16Array(bytes.buffer, plan.driverArea, 2 + plan.size);
  const used = new Uint16Array(bytes.buffer, plan.deviceArea, 2);
  const elements = new Uint32Array(bytes.buffer, plan.deviceArea + 4, 2 * plan.size);
  const disk = new Uint8Array(BLOCKS * BLOCK_BYTES);
  const ring = new DriverRing(bytes, plan, true);
  const chain = new DescriptorChain();
  let count = 0;
  const serveOne = (at: number): void => {
    const id = avail[2 + (at % plan.size)] as number;
    chain.load(id, table, plan.size, memory, false);
    const write = chain.readable.uint32(0) === 1;
    const offset = chain.readable.uint32(8) * 512;
    const status = chain.writable.view(chain.writable.count - 1);
    if (write) disk.set(chain.readable.view(1), offset);
    else chain.writable.view(0).set(disk.subarray(offset, offset + BLOCK_BYTES));
    status[0] = 0;
    const lie = mischief({ count: ++count, id, write, disk, status });
    elements.set([lie?.id ?? id, lie?.length ?? chain.writable.totalBytes], 2 * (at % plan.size));
  };
  const next = (): number => {
    for (let at = used[1] as number; at !== avail[1]; at = used[1] as number) {
      serveOne(at);
      used[1] = at + 1;
    }
    return ring.completed();
  };
  const range = { first: 0, count: BLOCKS };
  return {
    ring,
    slots: new RequestSlots(bytes, plan, GUEST_BASE),
    wait: { next, calls: 0, resetCalls: () => {} },
    picker: new BlockPicker(range, true, 1),
    kick: { signal: () => {} } as unknown as EventFd,
    kind,
    sectorsPerBlock: BLOCK_BYTES / 512,
    range,
    seed: 42,
    disk,
  };
}

/** A clock that advances a millisecond at each call: a loop runs a fixed number of turns on any machine. */
function clockOfTurns(t: TestContext): void {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => ++nowMs);
}

function verify(t: TestContext, mischief?: Mischief): VerifyLoop {
  clockOfTurns(t);
  const loop = new VerifyLoop(parts('read', mischief));
  loop.run(2000);
  loop.finish();
  return loop;
}

test('a load keeps the queue full, counts what came back and leaves nothing in flight', (t) => {
  clockOfTurns(t);
  for (const kind of ['read', 'write', 'mixed'] as const) {
    const loop = new LoadLoop(parts(kind));
    loop.run(performance.now() + 200);
    loop.finish();
    assert.ok(loop.requests > 100, `${loop.requests} requests`);
    assert.equal(loop.latency.count, loop.requests);
    assert.deepEqual(loop.errors, { status: 0, id: 0, length: 0, data: 0, stall: 0 });
    loop.reset();
    assert.deepEqual([loop.requests, loop.latency.count], [0, 0]);
  }
});

test('a load counts statuses that are not OK and ids that name no request', (t) => {
  clockOfTurns(t);
  const loop = new LoadLoop(
    parts('read', ({ count, status }) => {
      if (count % 10 === 0) status[0] = 1;
      return count === 5 ? { id: 1 } : undefined;
    }),
  );
  loop.run(200);
  assert.equal(loop.errors.id, 1);
  assert.ok(loop.errors.status > 5);
  assert.match(loop.errors.first ?? '', /the used ring names descriptor 1,/);
});

test('verify finds no fault in a disk that keeps what it is given', (t) => {
  const loop = verify(t);
  assert.ok(loop.requests > 100, `${loop.requests} requests`);
  assert.deepEqual(loop.errors, { status: 0, id: 0, length: 0, data: 0, stall: 0 });
});

const faults: readonly { name: string; kind: 'status' | 'id' | 'length' | 'data'; mischief: Mischief }[] = [
  {
    name: 'one flipped bit',
    kind: 'data',
    mischief: ({ count, disk }) => {
      // In the last byte of every block, so that whichever is read next shows it.
      if (count === 50) for (let at = BLOCK_BYTES - 1; at < disk.length; at += BLOCK_BYTES) disk[at]! ^= 1;
      return undefined;
    },
  },
  {
    name: 'a used length that is one short',
    kind: 'length',
    mischief: ({ count, write }) => (count > 50 && !write ? { length: BLOCK_BYTES } : undefined),
  },
  {
    name: 'a write that claims to have written data',
    kind: 'length',
    mischief: ({ write }) => (write ? { length: BLOCK_BYTES + 1 } : undefined),
  },
  {
    name: 'a status byte that is never written',
    kind: 'status',
    mischief: ({ status }) => {
      status[0] = 0xff;
      return undefined;
    },
  },
];

for (const { name, kind, mischief } of faults) {
  test(`verify finds ${name}`, (t) => {
    const { errors } = verify(t, mischief);
    assert.ok(errors[kind] > 0, JSON.stringify(errors));
    assert.ok(errors.first !== undefined);
  });
}

test('verify finds a write that went to another block', (t) => {
  clockOfTurns(t);
  const wrong = parts('read', ({ count, disk }) => {
    if (count % 20 === 0) disk.copyWithin(0, BLOCK_BYTES, 2 * BLOCK_BYTES);
    return undefined;
  });
  const loop = new VerifyLoop(wrong);
  loop.run(2000);
  loop.finish();
  assert.ok(loop.errors.data > 0);
  assert.match(loop.errors.first ?? '', /it holds sector 1,/);
});

/** A paced loop with a clock that advances only while it waits; the device takes `serviceMs` for each request. */
function paced(t: TestContext, intervalMs: number, serviceMs = 0): PacedLoop {
  let nowMs = 1000;
  t.mock.method(performance, 'now', () => nowMs);
  const base = parts('read');
  let doneMs = 0;
  const next = (): number => {
    nowMs = Math.max(nowMs, doneMs);
    doneMs = nowMs + serviceMs;
    return base.wait.next();
  };
  const nextBefore = (untilMs: number): number => {
    if (Math.max(nowMs, doneMs) <= untilMs) {
      const count = next();
      if (count > 0) return count;
    }
    nowMs = Math.max(nowMs, untilMs);
    return 0;
  };
  return new PacedLoop({ ...base, wait: { ...base.wait, next, nextBefore }, intervalMs });
}

test('a paced load makes each request when it is due, and no other', (t) => {
  const loop = paced(t, 10);
  loop.run(2000);
  loop.finish();
  assert.equal(loop.requests, 99);
  assert.equal(loop.latency.count, 99);
  assert.deepEqual(loop.errors, { status: 0, id: 0, length: 0, data: 0, stall: 0 });
  loop.reset();
  loop.run(2100);
  loop.finish();
  assert.equal(loop.requests, 10, 'it goes on where it was');
});

test('a paced load of no requests makes none', (t) => {
  const loop = paced(t, Number.POSITIVE_INFINITY);
  loop.run(10_000);
  loop.finish();
  assert.deepEqual([loop.requests, loop.kicks], [0, 0]);
});

test('with a device slower than a paced load, latency includes the wait for a free slot', (t) => {
  const loop = paced(t, 1, 100);
  loop.run(3000);
  loop.finish();
  // Eight slots at a time, every 100 ms; the latency of a late request counts from when it was due.
  assert.ok(loop.requests < 200, `${loop.requests} requests`);
  assert.ok(loop.latency.max > 1e9, `${loop.latency.max} ns at most`);
});
