// bench/doorbell: the listening thread counts every ring, whenever it gets a processor.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pinThread } from '../../src/sys/cpu.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { chooseProcessors } from '../placement.ts';
import { Listener } from './listener.ts';

const [cpu = 0] = chooseProcessors();

for (const kind of ['epoll', 'polling'] as const) {
  test(`regression: a listener by ${kind} that has no processor until it is stopped still counts every ring`, async () => {
    // Two threads on one processor: the listener seldom runs between the ring and the end.
    pinThread(0, cpu);
    await using listener = new Listener(cpu);
    using bell = EventFd.create();
    for (let i = 0; i < 30; i++) {
      await listener.listen(bell, kind);
      bell.signal();
      const { wakes } = await listener.stop();
      assert.equal(wakes, 1);
    }
  });
}

test('without a listener no ring is counted, and the eventfd keeps its count', async () => {
  await using listener = new Listener(cpu);
  using bell = EventFd.create();
  await listener.listen(bell, 'nobody');
  bell.signal();
  assert.equal((await listener.stop()).wakes, 0);
  assert.ok(bell.clear());
});
