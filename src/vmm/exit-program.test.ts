// The vCPU's side of an exit, with a thread of the test's in place of the main thread.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KVM_EXIT_IO } from '../kvm/constants.ts';
import type { Vcpu } from '../kvm/vcpu.ts';
import { EventFd } from '../sys/event-fd.ts';
import { startThread } from '../sys/thread.ts';
import { vcpuProgram } from './exit-program.ts';
import { ANSWERED, ASKED, START_RELEASED, STATE, VALUE, WORDS_PER_VCPU } from './exit-protocol.ts';
import { newPostedWords } from './posted-writes.ts';

const shared = (words: number) => new Int32Array(new SharedArrayBuffer(4 * words));

/** An `in` of one byte from port 0x40. */
const PORT_READ = { isOut: false, port: 0x40, sizeBytes: 1, count: 1, offset: 8 };

// Answers the first request with 42, but wakes the vCPU's thread a few times before that.
const ANSWERING = `
  const { workerData: words } = require('node:worker_threads');
  while (Atomics.load(words, ${STATE}) !== ${ASKED});
  for (let woken = 0; woken < 5; ) woken += Atomics.notify(words, ${STATE});
  words[${VALUE}] = 42;
  Atomics.store(words, ${STATE}, ${ANSWERED});
  Atomics.notify(words, ${STATE});
`;

test('regression: a late notify of an earlier answer does not end the guest', async (t) => {
  using eventFd = EventFd.create();
  const [words, start, status] = [shared(WORDS_PER_VCPU), shared(1), shared(1)];
  start[0] = START_RELEASED;
  const bytes = new Uint8Array(16);
  const shortcuts = { start: 0, end: 0, statusPort: 0, status };
  const data = { words, eventFd: eventFd.fd, start, posted: newPostedWords(), shortcuts };
  const handler = vcpuProgram({ exits: { io: PORT_READ, bytes } } as unknown as Vcpu, data);
  const answering = startThread(ANSWERING, { eval: true, workerData: words });
  t.after(() => answering.terminate());
  assert.equal(handler.onExit(KVM_EXIT_IO), true);
  assert.equal(bytes[PORT_READ.offset], 42);
});
