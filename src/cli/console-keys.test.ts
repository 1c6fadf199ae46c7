// cli: between a terminal and the console of a machine: the help key is handled, everything else is passed on.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { ReadStream, WriteStream } from 'node:tty';
import { TerminalConsole } from '../vmm/terminal-console.ts';
import { ConsoleKeys } from './console-keys.ts';

/** Types `typed` in pieces on a terminal with a console behind it; returns what it received and what was shown. */
async function afterTyping(typed: readonly string[]) {
  const modes: boolean[] = [];
  const terminal = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (mode: boolean) => modes.push(mode) });
  let shown = '';
  const keys = new ConsoleKeys(terminal as unknown as ReadStream, (text) => {
    shown += text;
  });
  let left = 0;
  const output = new PassThrough() as unknown as WriteStream;
  const console = new TerminalConsole({ input: keys.input, output, onLeave: () => left++ });
  const received: number[] = [];
  console.start((bytes) => {
    received.push(...bytes);
    return bytes.length;
  });
  for (const piece of typed) terminal.write(piece);
  const { promise, resolve } = Promise.withResolvers<void>();
  keys.input.on('end', resolve);
  terminal.end();
  await promise;
  console.stop();
  keys[Symbol.dispose]();
  return { received: String.fromCharCode(...received), shown, left, modes };
}

for (const key of ['h', '?']) {
  test(`Ctrl-A ${key} shows the keys, and the guest receives nothing of it`, async () => {
    for (const typed of [[`ls\x01${key}\r`], ['ls\x01', `${key}\r`]]) {
      const { received, shown, left } = await afterTyping(typed);
      assert.deepEqual([received, left], ['ls\r', 0]);
      assert.match(shown, /Ctrl-A x {2}ends the guest at once, as if it lost power; poweroff ends it in order\r\n/);
    }
  });
}

test('Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A, and the terminal is raw for as long', async () => {
  const { received, shown, left, modes } = await afterTyping(['a\x01\x01b\x03\x01', 'x']);
  assert.deepEqual([received, shown, left], ['a\x01b\x03', '', 1]);
  assert.deepEqual(modes, [true, false]);
});

test('an input that is no terminal is passed on as it is', () => {
  const pipe = new PassThrough() as unknown as ReadStream;
  assert.equal(new ConsoleKeys(pipe, () => {}).input, pipe);
});
