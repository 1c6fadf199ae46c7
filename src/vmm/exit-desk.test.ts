// The microVM: the main thread's side of the desk, with a vCPU's side that posts and is gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLoop } from '../sys/event-loop.ts';
import { Bus } from './bus.ts';
import { ExitDesk } from './exit-desk.ts';
import { POSTED_MAX, PostedWrites } from './posted-writes.ts';

const PORT = 0x3f8;

/** A desk for one vCPU, its end of the ring, and what its device was told. `write` answers for the device. */
function deskWith(write: (value: number) => Promise<void> | undefined) {
  const loop = new EventLoop();
  const ports = new Bus();
  const values: number[] = [];
  ports.add(PORT, 1, {
    read: () => 0,
    write: (_offset, _sizeBytes, value) => {
      values.push(value);
      return write(value);
    },
  });
  const status = new Int32Array(new SharedArrayBuffer(4));
  const shortcuts = { start: PORT, end: PORT + 1, statusPort: 0, status };
  const desk = new ExitDesk(1, { ports, memory: new Bus(), loop, shortcuts, onFailure: assert.fail });
  return { desk, values, posted: new PostedWrites(desk.programData(0).posted) };
}

test('regression: the last words of a guest that failed are heard, although its thread was faster than its bell', () => {
  const { desk, values, posted } = deskWith(() => undefined);
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  desk.close();
  assert.deepEqual(values, [1, 2, 3]);
  desk[Symbol.dispose]();
});

test('a device that keeps the others waiting does not keep the desk from closing', () => {
  const { desk, values, posted } = deskWith((value) => (value === 2 ? new Promise(() => {}) : undefined));
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  desk.close();
  assert.deepEqual(values, [1, 2]);
  for (let i = 0; i < POSTED_MAX; i++) posted.post(PORT, 1, 4);
  desk[Symbol.dispose]();
});
