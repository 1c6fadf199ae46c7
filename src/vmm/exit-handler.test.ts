// The main thread's side of an exit, with a vCPU's side that posts writes and ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLoop } from '../sys/event-loop.ts';
import { Bus } from './bus.ts';
import { ExitHandler } from './exit-handler.ts';
import { POSTED_MAX, PostedWrites } from './posted-writes.ts';

const PORT = 0x3f8;

/**
 * A handler for one vCPU, the vCPU's end of the ring, and the values that its device got. `write` is the device's
 * answer.
 */
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

test('regression: the last writes of a guest that failed arrive, although its thread ended before its eventfd was read', () => {
  const { handler, values, posted } = handlerWith(() => undefined);
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  handler.close();
  assert.deepEqual(values, [1, 2, 3]);
  handler[Symbol.dispose]();
});

test('a device that blocks posted writes does not keep the handler from closing', () => {
  const { handler, values, posted } = handlerWith((value) => (value === 2 ? new Promise(() => {}) : undefined));
  for (const value of [1, 2, 3]) posted.post(PORT, 1, value);
  handler.close();
  assert.deepEqual(values, [1, 2]);
  for (let i = 0; i < POSTED_MAX; i++) posted.post(PORT, 1, 4);
  handler[Symbol.dispose]();
});
