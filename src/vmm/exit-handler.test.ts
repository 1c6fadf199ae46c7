// The microVM: the main thread's side of an exit, with a vCPU's side that posts and is gone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLoop } from '../sys/event-loop.ts';
import { Bus } from './bus.ts';
import { ExitHandler } from './exit-handler.ts';
import { POSTED_MAX, PostedWrites } from './posted-writes.ts';

const PORT = 0x3f8;

/** A handler for one vCPU, its end of the ring, and what its device was told. `write` answers for the device. */
function handlerWith(write: (value: number) => Promise<void> | undefined) {
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
  const handler = new ExitHandler(1, { ports, memory: new Bus(), loop, shortcuts, onFailure: assert.fail });
  return { handler, values, posted: new PostedWrites(handler.programData(0).posted) };
}

test('regression: the last words of a guest that failed are heard, although its thread was faster than its bell', () => {
  const { handler, values, posted } = handlerWith(() => undefined);
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  handler.close();
  assert.deepEqual(values, [1, 2, 3]);
  handler[Symbol.dispose]();
});

test('a device that keeps the others waiting does not keep the handler from closing', () => {
  const { handler, values, posted } = handlerWith((value) => (value === 2 ? new Promise(() => {}) : undefined));
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  handler.close();
  assert.deepEqual(values, [1, 2]);
  for (let i = 0; i < POSTED_MAX; i++) posted.post(PORT, 1, 4);
  handler[Symbol.dispose]();
});
