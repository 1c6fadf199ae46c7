// A thread waits for signals that are sent to it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { test } from 'node:test';
import { SignalWait } from './signal-wait.ts';
import { signalThread, threadId } from './thread-signal.ts';

const { SIGUSR2, SIGHUP } = constants.signals;

/** The set of signals pending for this thread, as hexadecimal. */
const pending = (): string => /SigPnd:\s*(\S+)/.exec(readFileSync('/proc/thread-self/status', 'utf8'))?.[1] ?? '';

test('a signal sent before the wait is there, and several of them are one', () => {
  using signals = new SignalWait([SIGUSR2, SIGHUP]);
  for (let i = 0; i < 3; i++) signalThread(threadId(), SIGUSR2);
  signalThread(threadId(), SIGHUP);
  const taken = [signals.wait(), signals.wait()].toSorted();
  assert.deepEqual(taken, [SIGHUP, SIGUSR2].toSorted());
  assert.match(pending(), /^0+$/);
});

test('a thread that does not exist cannot be sent a signal', () => {
  assert.throws(() => signalThread(2 ** 22, SIGUSR2), { name: 'SystemError', code: 'ESRCH' });
});
