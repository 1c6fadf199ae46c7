// A pseudo-terminal as a stream: raw, both ways, with programs that come and go, and one that does not read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { eventually } from '../testing/patience.ts';
import { PtyStream } from './pty-stream.ts';

const OPEN = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

/** Reads what is there now. */
function take(fd: number): string {
  const into = new Uint8Array(64 * 1024);
  try {
    return Buffer.from(into.buffer, 0, readSync(fd, into)).toString('latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    return '';
  }
}

async function shown(fd: number, text: string): Promise<void> {
  let seen = '';
  await eventually('the output', () => {
    seen += take(fd);
    return seen.length >= text.length;
  });
  assert.ok(seen === text, `${seen.length} bytes`);
}

test('it is a terminal in raw mode, which goes away with the stream', () => {
  const stream = new PtyStream();
  assert.match(stream.path, /^\/dev\/pts\/\d+$/);
  assert.match(execFileSync('stty', ['-F', stream.path, '-a'], { encoding: 'utf8' }), /-icanon.* -echo /s);
  stream.destroy();
  assert.equal(existsSync(stream.path), false);
});

test('programs open and close it; what is written meanwhile is dropped, and what is typed is read', async () => {
  const stream = new PtyStream();
  const events: boolean[] = [];
  stream.onOpen = (isOpen) => events.push(isOpen);
  let typed = '';
  stream.setEncoding('latin1').on('data', (text) => {
    typed += text;
  });
  assert.equal(stream.isOpen, false);
  await new Promise((resolve) => stream.write('nobody is there', resolve));
  for (const text of ['first\x03\r', 'second\x04\n']) {
    const fd = openSync(stream.path, OPEN);
    const { length } = events;
    await eventually('the opening', () => stream.isOpen && events.length === length + 1);
    writeSync(fd, text);
    await eventually('the keys', () => typed === text);
    typed = '';
    stream.write(`hello\n${text}`);
    await shown(fd, `hello\n${text}`);
    closeSync(fd);
    await eventually('the closing', () => !stream.isOpen);
  }
  assert.deepEqual(events, [true, false, true, false]);
  stream.destroy();
});

test('a program that does not read stops the writer, and one that leaves lets it go on', async () => {
  const stream = new PtyStream();
  const fd = openSync(stream.path, OPEN);
  await eventually('the opening', () => stream.isOpen);
  const bytes = randomBytes(300_000);
  let isWritten = false;
  stream.write(bytes, () => {
    isWritten = true;
  });
  await eventually('the terminal to be full', () => stream.bytesWritten > 0);
  assert.equal(isWritten, false);
  await shown(fd, bytes.toString('latin1'));
  await eventually('the callback', () => isWritten);
  isWritten = false;
  stream.write(bytes, () => {
    isWritten = true;
  });
  closeSync(fd);
  await eventually('the callback', () => isWritten);
  stream.destroy();
});

test('a stream that is closed with a program at it ends its writer', async () => {
  const stream = new PtyStream();
  const fd = openSync(stream.path, OPEN);
  await eventually('the opening', () => stream.isOpen);
  const done = new Promise((resolve) => stream.write(randomBytes(300_000), resolve));
  stream.destroy();
  await done;
  closeSync(fd);
});
