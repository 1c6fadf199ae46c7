// guests: the shell's scripts are well-formed, and the name of a disk cannot become a command.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { CpioEntry } from './cpio.ts';
import { quoted, sessionEntries, shellEntries } from './shell-script.ts';

function textOf(entries: readonly CpioEntry[], path: string): string {
  const entry = entries.find((one) => one.path === path);
  assert.ok(entry?.kind === 'file', path);
  return new TextDecoder().decode(entry.bytes);
}

test('the scripts are well-formed shell', () => {
  const entries = shellEntries(['virtio_blk'], '/dev/tty1');
  for (const path of ['init', 'shell-start']) execFileSync('sh', ['-n'], { input: textOf(entries, path) });
  assert.match(textOf(entries, 'init'), /^insmod \/modules\/virtio_blk.ko/m);
});

test('the values of a session are data in the script, whatever they contain', () => {
  const names = [`it's $(touch /x) "\${HOME}"`, 'two\nlines'];
  const terminal = { columns: 80, rows: 24, type: "xterm'; echo no" };
  const session = textOf(sessionEntries({ mark: 'M', diskNames: names, terminal }), 'session');
  const print = 'printf "%s|" "$mark" "$disks" "$name0" "$name1" "$columns" "$TERM"';
  const said = execFileSync('sh', [], { input: `${session}\n${print}`, encoding: 'utf8' });
  assert.deepEqual(said, `${['M', '2', ...names, '80', terminal.type].join('|')}|`);
});

test('there is a file of commands only where there are commands', () => {
  const about = { mark: 'M', diskNames: ['a'] };
  assert.deepEqual(
    sessionEntries(about).map(({ path }) => path),
    ['session'],
  );
  assert.equal(textOf(sessionEntries({ ...about, commands: new TextEncoder().encode('ls\n') }), 'commands'), 'ls\n');
});

test('a quoted text is one word for a shell', () => {
  const text = `a'b"c $d \\ e`;
  assert.equal(execFileSync('sh', ['-c', `printf %s ${quoted(text)}`], { encoding: 'utf8' }), text);
});
