// The progress of a test run, on a terminal and in a pipe, and its estimate of the time left.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Durations } from './durations.ts';
import { clock, Progress } from './progress.ts';
import { TimeLeft } from './time-left.ts';

/** A clock and timers that advance only when the returned function is called. */
function clockOf(t: TestContext): (seconds: number) => void {
  let nowMs = 0;
  t.mock.method(performance, 'now', () => nowMs);
  t.mock.timers.enable({ apis: ['setInterval'] });
  return (seconds) => {
    // In steps, or a timer would see only the last moment.
    for (const endMs = nowMs + seconds * 1000; nowMs < endMs; ) {
      nowMs += 500;
      t.mock.timers.tick(500);
    }
  };
}

function durationsOf(t: TestContext, seconds: Readonly<Record<string, number>>): Durations {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-durations-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const durations = new Durations(join(folder, 'new/seconds.json'));
  for (const [name, value] of Object.entries(seconds)) durations.set(name, value);
  durations.save();
  return new Durations(join(folder, 'new/seconds.json'));
}

const plans = [
  { parts: ['a', 'b', 'c'], lanes: 2, seconds: 30 },
  { parts: ['lint'], lanes: 1, seconds: 5 },
];

test('the time left is what the parts took the last time, or an even share of what their stage takes', (t) => {
  const pass = clockOf(t);
  assert.equal(new TimeLeft(plans, durationsOf(t, {})).seconds, 35);
  const left = new TimeLeft(plans, durationsOf(t, { a: 40, b: 5, c: 5, lint: 2 }));
  assert.equal(left.seconds, 42, 'two at once take as long as the longer one');
  left.begin('a');
  left.begin('b');
  pass(5);
  assert.equal(left.seconds, 37);
  assert.equal(left.end('b'), 5);
  pass(100);
  assert.equal(left.seconds, 5 + 2, 'one that takes longer than it should is about to end');
});

test('a machine that turns out slower has more time left', (t) => {
  const pass = clockOf(t);
  const left = new TimeLeft([{ parts: ['a', 'b'], lanes: 1, seconds: 0 }], durationsOf(t, { a: 60, b: 60 }));
  left.begin('a');
  pass(240);
  left.end('a');
  assert.equal(left.seconds, 180);
});

test('durations that cannot be read or written are ignored', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-durations-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'seconds.json');
  for (const text of ['', '{"a":', '{"a":"b"}']) {
    writeFileSync(path, text);
    assert.equal(new Durations(path).of('a'), undefined);
  }
  new Durations(join(path, 'below a file')).save();
});

function progressOn(t: TestContext, isTTY: boolean): { readonly progress: Progress; readonly written: () => string } {
  let text = '';
  const screen = {
    isTTY,
    columns: 60,
    write: (more: string) => {
      text += more;
    },
  };
  const progress = new Progress(screen, new TimeLeft(plans, durationsOf(t, { a: 200, b: 5, c: 5, lint: 2 })));
  t.after(() => progress[Symbol.dispose]());
  const written = (): string => {
    const all = text;
    text = '';
    return all;
  };
  return { progress, written };
}

test('in a pipe there is a line for what took a while, for news, and for every minute', (t) => {
  const pass = clockOf(t);
  const { progress, written } = progressOn(t, false);
  progress.stage('unit', false);
  progress.begin('b');
  progress.begin('a');
  pass(1);
  progress.end('b', '3 passed');
  progress.begin('c');
  progress.says('a', 'the first test');
  pass(9);
  progress.end('c', '4 passed');
  assert.equal(written(), ' 0:10  c: 4 passed in 9.0 s\n');
  progress.says('a', 'booting', true);
  assert.equal(written(), ' 0:10  a: booting\n');
  progress.says('a', 'a quiet test');
  pass(59);
  assert.equal(written(), '');
  pass(1);
  assert.equal(written(), ' 1:10  unit, about 2:12 left: a: a quiet test (70 s)\n');
  pass(60);
  assert.equal(written(), ' 2:10  unit, about 1:12 left: a: a quiet test (130 s)\n');
});

test('in a pipe every part of a heavy stage has its line, but for a stage that has no parts', (t) => {
  const pass = clockOf(t);
  const { progress, written } = progressOn(t, false);
  for (const [stage, isHeavy, part, expected] of [
    ['unit', true, 'b', ' 0:01  b: done in 1.0 s\n'],
    ['unit', false, 'c', ''],
    ['lint', true, 'lint', ''],
  ] as const) {
    progress.stage(stage, isHeavy);
    progress.begin(part);
    pass(1);
    progress.end(part, 'done');
    assert.equal(written(), expected);
  }
});

test('on a terminal there is one line, no wider than that, which other lines replace', (t) => {
  const pass = clockOf(t);
  const { progress, written } = progressOn(t, true);
  progress.stage('unit', false);
  progress.begin('a');
  progress.says('a', 'a test with a name that is too long for a terminal', true);
  pass(1);
  const erased = '\r\x1b[K';
  const line = ' 0:01  unit, about 3:21 left: a: a test with a name that is ';
  assert.equal(written().split(erased).at(-1), line.slice(0, 59));
  progress.print('types  1.0 s');
  assert.deepEqual(written().split(erased), ['', 'types  1.0 s\n', line.slice(0, 59)]);
  progress[Symbol.dispose]();
  assert.equal(written(), erased);
});

test('seconds are minutes and seconds', () => {
  assert.deepEqual([0, 9.6, 61, 3600, -3].map(clock), ['0:00', '0:10', '1:01', '60:00', '0:00']);
});
