// The log lines about a store: that it fails, that it does not answer, and that it works again.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BlockLoopback } from '../../testing/block-loopback.ts';
import { blockRequest } from '../../testing/block-request.ts';
import type { About } from '../../virtio/log.ts';
import * as blk from './spec.ts';
import { StoreHealth } from './store-health.ts';

/** A `StoreHealth` with a clock that the test advances. */
class Bed {
  readonly lines: string[] = [];
  readonly events: (About['event'] | undefined)[] = [];
  readonly health: StoreHealth;
  #nowMs = 1000;
  #due: { readonly atMs: number; readonly task: () => void } | undefined;

  constructor(t: TestContext) {
    t.mock.method(performance, 'now', () => this.#nowMs);
    this.health = new StoreHealth('slow', {
      log: (line, about) => {
        this.lines.push(line);
        this.events.push(about?.event);
      },
      timer: (delayMs, task) => {
        assert.equal(this.#due, undefined, 'one timer at a time');
        this.#due = { atMs: this.#nowMs + delayMs, task };
        return {
          [Symbol.dispose]: () => {
            this.#due = undefined;
          },
        };
      },
    });
  }

  get isTicking(): boolean {
    return this.#due !== undefined;
  }

  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let due = this.#due; due !== undefined && due.atMs <= untilMs; due = this.#due) {
      this.#nowMs = due.atMs;
      this.#due = undefined;
      due.task();
    }
    this.#nowMs = untilMs;
  }
}

test('regression: a store that does not answer is named after a second, and again ever more rarely', (t) => {
  const bed = new Bed(t);
  const read = bed.health.requestPending(blk.VIRTIO_BLK_T_IN, 4096);
  bed.pass(999);
  assert.deepEqual(bed.lines, []);
  bed.health.requestPending(blk.VIRTIO_BLK_T_FLUSH, 0);
  bed.pass(3600_000);
  const waits = (seconds: number): string =>
    `store slow: no answer to read at byte 4096 for ${seconds} s; 2 requests wait for it`;
  assert.deepEqual(
    bed.lines,
    Array.from({ length: 12 }, (_, i) => waits(2 ** i)),
  );
  bed.health.requestCompleted(read);
  bed.pass(3600_000);
  assert.equal(bed.lines[12], 'store slow: read at byte 4096 was answered after 3601.0 s');
  assert.equal(bed.lines[13], 'store slow: no answer to flush for 3601 s');
  assert.deepEqual([...new Set(bed.events)], ['store-waits', 'recovered']);
});

test('a store that answers in time is not logged, and no timer goes on', (t) => {
  const bed = new Bed(t);
  for (let i = 0; i < 100; i++) {
    const asked = bed.health.requestPending(blk.VIRTIO_BLK_T_OUT, 512 * i);
    bed.pass(900);
    bed.health.requestCompleted(asked);
  }
  bed.pass(10_000);
  assert.deepEqual([bed.lines, bed.isTicking], [[], false]);
});

test('regression: a store that works again is logged, with how often it failed', async () => {
  let isFailing = true;
  const read = (): void => {
    if (isFailing) throw new Error('no luck');
  };
  const loop = new BlockLoopback({ sizeBytes: 4096, name: 'shaky', read });
  for (let i = 0; i < 3; i++) await loop.request(blockRequest.read(i, 512));
  isFailing = false;
  loop.lines.splice(0);
  // A type that did not fail logs nothing.
  await loop.request(blockRequest.flush());
  assert.equal(loop.lines.length, 0);
  for (let i = 0; i < 2; i++) await loop.request(blockRequest.read(i, 512));
  assert.equal(loop.lines.length, 1);
  assert.match(loop.lines[0] as string, /^store shaky: a read succeeds again, after 3 failures in \d+\.\d s$/);
});
