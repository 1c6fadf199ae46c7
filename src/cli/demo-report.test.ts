// cli: what `demo` prints fits the terminal, and has the right lines for every kind of disk and guest.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { StepTexts } from '../../demo/demo-steps.ts';
import type { DemoResult } from '../../demo/run-demo.ts';
import { DemoReport, formatDemo } from './demo-report.ts';

const stepsOf = (names: readonly string[]) =>
  names.map((name) => ({ disk: 'vda', name, ok: true, ms: 123.4, sizeBytes: 16 << 20 }));

const RESULT: DemoResult = {
  ok: true,
  problem: '',
  guest: { name: 'uml', description: 'User-Mode Linux', kernel: '6.1.176', bootMs: 700 },
  disk: {
    path: '/dev/shm/belfry-demo-abcdef/disk.img',
    sizeBytes: 512 << 20,
    readOnly: false,
    own: { kept: false, inMemory: true, allocatedBytes: 76 << 20 },
  },
  checks: 'format',
  unchecked: ['what is after the first 1024 MiB of this disk, which is much larger: --data MiB reads more'],
  steps: stepsOf(['write', 'write-direct', 'read', 'read-direct', 'read-4k']),
  device: {
    ...{ requests: 18_630, batches: 9, bytesRead: 1, bytesWritten: 1, kicks: 15_660, calls: 18_030 },
    ...{ p50Us: 70, p99Us: 6400, kicksSaved: 2970, callsSaved: 600 },
  },
  totalMs: 13_500,
  consoleTail: [],
};

/** Commands are not broken, since they are to be pasted. */
const isCommand = (line: string): boolean => /^ {2}belfry /.test(line);

for (const columns of [60, 80, 120]) {
  test(`regression: at ${columns} columns nothing is cut and nothing is too wide`, () => {
    const failed = { ...RESULT, ok: false, problem: `the guest's step mkfs on vda failed: ${'no space '.repeat(20)}` };
    for (const result of [RESULT, failed]) {
      const lines = stripVTControlCharacters(formatDemo(result, columns, true)).split('\n');
      for (const line of lines) assert.ok(line.length <= columns || isCommand(line), line);
      assert.doesNotMatch(lines.join(' '), /…/);
    }
  });

  test(`at ${columns} columns every step fits its line or goes on below its own text`, () => {
    let written = '';
    const write = (text: string): boolean => {
      written += text;
      return true;
    };
    const output = { isTTY: true, columns, write } as never;
    using report = new DemoReport(output, 'Heading\n\n');
    for (const list of ['format', 'read-only', 'built-in'] as const) {
      report.expect(list);
      const texts = new StepTexts(list);
      for (const name of ['appears', 'zero-range', 'read-cached-all', 'load-verify']) {
        texts.take(name);
        for (const step of stepsOf([name])) report.step(step);
      }
    }
    report.note(`a note that is ${'very '.repeat(30)}long`);
    const lines = stripVTControlCharacters(written).split('\n');
    assert.equal(lines[0], 'Heading');
    for (const line of lines) assert.ok(line.length <= columns, `${line.length}: ${line}`);
  });
}

test('regression: a Linux is recommended only where there is none', () => {
  const builtIn: DemoResult = {
    ...RESULT,
    guest: { ...RESULT.guest, name: 'built-in' },
    checks: 'built-in',
    steps: [],
  };
  assert.match(formatDemo(builtIn, 100, false), /For a real Linux: apt-get install user-mode-linux/);
  assert.doesNotMatch(formatDemo(builtIn, 100, true), /apt-get/);
  assert.doesNotMatch(formatDemo(RESULT, 100, true), /apt-get/);
});

test('the next steps name the disk where it is still there', () => {
  const mine: DemoResult = { ...RESULT, disk: { path: "my disk's.img", sizeBytes: 1 << 30, readOnly: false } };
  assert.match(stripVTControlCharacters(formatDemo(mine, 100, true)), /belfry shell 'my disk'\\''s\.img'\n/);
  const memory: DemoResult = { ...RESULT, disk: { path: 'mem:64M', sizeBytes: 64 << 20, readOnly: false } };
  assert.match(stripVTControlCharacters(formatDemo(memory, 100, true)), /belfry shell DISK\n/);
});
