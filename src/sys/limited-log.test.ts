// The rate-limited log: how often a line is written, what is counted, and what a line may contain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CAUSES_MAX, LINE_CHARS_MAX, LimitedLog, printable } from './limited-log.ts';

/** A log with a clock that only the test advances, and the lines it wrote. */
function makeLog(): { log: LimitedLog; lines: string[]; wait: (ms: number) => void } {
  const lines: string[] = [];
  let nowMs = 1e6;
  const log = new LimitedLog((line) => lines.push(line), { now: () => nowMs });
  const wait = (ms: number): void => {
    nowMs += ms;
  };
  return { log, lines, wait };
}

const MORE = / \(and ([\d,]+) (?:more like it|other lines)\)$/;
const countOf = (line: string): number => Number((MORE.exec(line)?.[1] ?? '0').replaceAll(',', ''));
/** How many calls of `log` the written lines stand for. */
const toldBy = (lines: readonly string[]): number => lines.reduce((sum, line) => sum + 1 + countOf(line), 0);

test('the first five lines of a cause are written as they are', () => {
  const { log, lines } = makeLog();
  for (let i = 1; i <= 7; i++) log.log(`write of sector ${i} failed`);
  assert.deepEqual(
    lines,
    [1, 2, 3, 4, 5].map((i) => `write of sector ${i} failed`),
  );
});

test('then one a second, which says how many were left out', () => {
  const { log, lines, wait } = makeLog();
  for (let i = 0; i < 5 + 12_345; i++) log.log('again');
  wait(1000);
  log.log('again');
  assert.equal(lines[5], 'again (and 12,345 more like it)');
  assert.equal(lines.length, 6);
});

test('the interval doubles up to a minute while lines keep coming', () => {
  const { log, lines, wait } = makeLog();
  const seconds: number[] = [];
  for (let second = 0; second <= 300; second++) {
    const before = lines.length;
    for (let i = 0; i < 10; i++) log.log('again');
    if (second > 0 && lines.length > before) seconds.push(second);
    wait(1000);
  }
  assert.deepEqual(seconds, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
});

test('a cause is reset after a minute without a line, and still writes what was suppressed', () => {
  const { log, lines, wait } = makeLog();
  for (let i = 0; i < 8; i++) log.log('again');
  wait(60_000);
  for (let i = 0; i < 6; i++) log.log('again');
  assert.deepEqual(lines.slice(5), ['again (and 3 more like it)', 'again', 'again', 'again', 'again']);
});

test('lines that differ in numbers alone, decimal or hex, have one cause; others do not share its limit', () => {
  const { log, lines } = makeLog();
  for (let i = 0; i < 100; i++)
    log.log(`request ${i} at 0x${(i * 7919).toString(16)} of client ${(i * 40503) % 65536}`);
  assert.equal(lines.length, 5);
  for (let i = 0; i < 100; i++) log.log('a bad face added');
  assert.equal(lines.length, 10);
  log.log('a bad dead added');
  assert.equal(lines.length, 11, 'words of the letters a to f are no numbers');
});

test('flush writes what was suppressed, once', () => {
  const { log, lines } = makeLog();
  for (let i = 1; i <= 9; i++) log.log(`line ${i}`);
  for (let i = 1; i <= 6; i++) log.log(`other ${i}`);
  lines.length = 0;
  log.flush();
  log.flush();
  assert.deepEqual(lines, ['line 9 (and 3 more like it)', 'other 6']);
});

test('what was flushed is not written again', () => {
  const { log, lines, wait } = makeLog();
  for (let i = 0; i < 9; i++) log.log('again');
  log.flush();
  wait(1000);
  log.log('again');
  assert.deepEqual(lines.slice(5), ['again (and 3 more like it)', 'again']);
});

test('regression: a million lines cost a bounded number of lines, and every one is counted', () => {
  const { log, lines, wait } = makeLog();
  for (let i = 0; i < 1e6; i++) {
    log.log(`store x: read of 512 bytes at ${i * 512} failed: ENOSPC`);
    if (i % 1000 === 0) wait(10); // ten seconds in all
  }
  log.flush();
  assert.ok(lines.length <= 5 + 4 + 1, `${lines.length} lines`);
  assert.equal(toldBy(lines), 1e6);
});

test('regression: a million causes cost a bounded number of lines and of bytes', () => {
  const { log, lines, wait } = makeLog();
  const word = (i: number): string =>
    i.toString(36).replaceAll(/\d/g, (digit) => 'ghijklmnop'[Number(digit)] as string);
  for (let i = 0; i < 1e6; i++) {
    log.log(`no such thing: ${word(i)}`);
    if (i % 1000 === 0) wait(10);
  }
  log.flush();
  assert.ok(lines.length <= 6 * (CAUSES_MAX + 1) + 10, `${lines.length} lines`);
  assert.equal(toldBy(lines), 1e6);
  assert.match(lines.at(-1) as string, / \(and [\d,]+ other lines\)$/);
});

test('a cause without a line for a minute makes room for a new one, and its suppressed line is written', () => {
  const { log, lines, wait } = makeLog();
  const name = (i: number): string => 'x'.repeat(i + 1);
  for (let i = 0; i < CAUSES_MAX; i++) for (let j = 0; j < 7; j++) log.log(name(i));
  for (let i = 0; i < 7; i++) log.log('one too many');
  lines.length = 0;
  wait(60_000);
  for (let i = 0; i < 7; i++) log.log('new');
  assert.deepEqual(lines, ['x (and 1 more like it)', 'new', 'new', 'new', 'new', 'new']);
});

test('regression: a long line is cut, and the rest of it is not kept', () => {
  const { log, lines } = makeLog();
  for (let i = 0; i < 10; i++) log.log(`${i}${'long '.repeat(1e6)}`);
  assert.deepEqual([...new Set(lines.map(({ length }) => length))], [LINE_CHARS_MAX]);
  assert.ok(lines[0]?.endsWith('…'));
  assert.equal(printable('x'.repeat(LINE_CHARS_MAX)), 'x'.repeat(LINE_CHARS_MAX));
  assert.equal(printable('\0'.repeat(LINE_CHARS_MAX)).length, LINE_CHARS_MAX);
});

test('regression: a name cannot forge a line, move the cursor or turn the text around', () => {
  const { log, lines } = makeLog();
  log.log('x\n\x1b[31mbelfry: disk.img was verified\r\t\x7f\x9b2J\u2028\u202egnp.exe\u2069');
  assert.deepEqual(lines, [
    String.raw`x\n\x1b[31mbelfry: disk.img was verified\x0d\x09\x7f\x9b2J\u{2028}\u{202e}gnp.exe\u{2069}`,
  ]);
});

test('other text stays as it is', () => {
  const text = 'größer als 4 GiB: „naïve“ 磁盘 🦉 \\n';
  assert.equal(printable(text), text);
});

test('the burst is an option', () => {
  const lines: string[] = [];
  const log = new LimitedLog((line) => lines.push(line), { burst: 2, now: () => 0 });
  for (let i = 0; i < 5; i++) log.log('again');
  log.flush();
  assert.deepEqual(lines, ['again', 'again', 'again (and 2 more like it)']);
});
