// bench: parses processor time and topology of /proc and /sys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allowedProcessors,
  coreOf,
  disturbanceBetween,
  foreignOver,
  type ProcessorSample,
  parseCpuList,
  parseProcessSeconds,
  processorsBetween,
  sampleProcessors,
} from './processor-use.ts';

test('a processor is on its own core, and one without a topology has a core to itself', () => {
  const [cpu = 0] = allowedProcessors();
  assert.ok(coreOf(cpu).includes(cpu));
  assert.deepEqual(coreOf(4095), [4095]);
});

test('a list of processors is ranges and single ones', () => {
  assert.deepEqual(parseCpuList('0-2,5'), [0, 1, 2, 5]);
  assert.deepEqual(parseCpuList('3'), [3]);
});

test('processor time is found behind a name with spaces and brackets', () => {
  const rest = Array.from({ length: 40 }, (_, i) => i + 3);
  // utime and stime are fields 14 and 15.
  assert.equal(parseProcessSeconds(`77 (a) b) (c) ${rest.join(' ')}`), 0.29);
});

test('this process is seen to work', () => {
  const from = sampleProcessors(process.pid);
  for (const before = process.cpuUsage(); process.cpuUsage(before).user < 60_000; );
  const use = processorsBetween(from, sampleProcessors(process.pid));
  assert.ok((use.backEndSeconds ?? 0) >= 0.02, `${use.backEndSeconds} s`);
  assert.ok((use.backEndInvoluntarySwitches ?? -1) >= 0);
  assert.ok(allowedProcessors().length > 0);
});

test('a process that is gone is unknown, not an error', () => {
  assert.equal(sampleProcessors(2 ** 22 + 1).backEndSeconds, undefined);
});

test('what neither side used is foreign', () => {
  const zero: ProcessorSample = {
    atMs: 0,
    backEndSeconds: 0,
    backEndSwitches: 0,
    ownSeconds: 0,
    allSeconds: 0,
    stolenSeconds: 0,
  };
  const later = {
    atMs: 2000,
    backEndSeconds: 1.5,
    backEndSwitches: 4,
    ownSeconds: 2,
    allSeconds: 4,
    stolenSeconds: 0.5,
  };
  const use = processorsBetween(zero, later);
  assert.deepEqual([use.backEnd, use.foreign, use.stolen], [0.75, 0.25, 0.25]);
  assert.equal(processorsBetween(zero, { ...later, backEndSeconds: undefined }).foreign, 0);
});

test('what the threads of this process did not use is foreign, and so is what another machine took', () => {
  const from = { ...sampleProcessors(undefined), atMs: 0, ownSeconds: 1, allSeconds: 10, stolenSeconds: 0 };
  const to = { ...from, atMs: 2000, ownSeconds: 2, allSeconds: 11.5, stolenSeconds: 0.25 };
  const disturbance = disturbanceBetween(from, to);
  assert.deepEqual([disturbance.seconds, disturbance.foreignSeconds], [2, 0.75]);
});

test('foreign time is too much only where it is more than the ticks of so short a time can be wrong by', () => {
  const over = (rounds: number, seconds: number, foreignSeconds: number) =>
    foreignOver(Array.from({ length: rounds }, () => ({ seconds, foreignSeconds, loadAverage: 0 })));
  assert.ok(over(10, 1, 0.15).isTooMuch);
  assert.ok(!over(10, 1, 0.05).isTooMuch);
  assert.ok(!over(3, 0.1, 0.025).isTooMuch, 'a quarter of a processor, or two ticks');
  assert.ok(over(3, 0.1, 0.05).isTooMuch);
  assert.equal(over(2, 1, -0.02).share, 0);
});
