// test/microvm/bed: how the queues of the disk show whether it is the cause of a silent bed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { QueueReport } from '../../../src/transports/queue/queue-report.ts';
import { owesNothing } from './bed-disk.ts';

const words = { availableIndex: 7, usedIndex: 7, usedEvent: 7 };
const idle = { runs: 'running', words } as unknown as QueueReport;

const states: readonly (readonly [string, readonly QueueReport[] | undefined, boolean])[] = [
  ['all was used, and the driver saw it', [idle, idle], true],
  ['a request waits', [idle, { ...idle, words: { ...words, availableIndex: 8 } }], false],
  ['a request was used, and the driver does not know', [{ ...idle, words: { ...words, usedEvent: 6 } }], false],
  ['a queue is broken', [{ ...idle, runs: 'broken' }], false],
  ['no queue runs', [], false],
  ['it does not answer', undefined, false],
];

for (const [what, state, expected] of states) {
  test(`${what}: ${expected ? 'it owes nothing' : 'it may be to blame'}`, () => {
    assert.equal(owesNothing(state), expected);
  });
}
