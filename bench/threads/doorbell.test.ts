// bench/threads: both doorbells wake a thread, and a thread that sleeps without a pending signal is detected.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { EventFd } from '../../src/sys/event-fd.ts';
import { threadId } from '../../src/sys/thread-signal.ts';
import { DOORBELLS, openDoorbell, ringerOf, sleepsUnrung } from './doorbell.ts';

for (const kind of DOORBELLS) {
  test(`a ${kind} that came before the wait ends it`, () => {
    using kick = EventFd.create();
    using doorbell = openDoorbell(kind, kick.fd);
    ringerOf({ kind, fd: kick.fd, thread: threadId() }).signal();
    doorbell.wait();
    assert.ok(!kick.clear(), 'the doorbell was not read');
  });
}

test('`sleepsUnrung` is true of a thread that sleeps and has no pending signal', () => {
  const status = (state: string, pending: string): string =>
    `Name:\tx\nState:\t${state} (…)\nSigPnd:\t${pending}\nShdPnd:\tffffffffffffffff\n`;
  assert.ok(sleepsUnrung(status('S', '0000000000000000')));
  assert.ok(sleepsUnrung(status('S', '0000000000000001')), 'SIGHUP is another signal');
  assert.ok(!sleepsUnrung(status('S', '0000000000000800')), 'SIGUSR2 is pending');
  assert.ok(!sleepsUnrung(status('R', '0000000000000000')));
  assert.ok(!sleepsUnrung(readFileSync('/proc/thread-self/status', 'utf8')), 'this thread runs');
});
