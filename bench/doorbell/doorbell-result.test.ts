// bench/doorbell: how rounds are summed up, and how tables and the page show them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { formatDoorbellPage } from './doorbell-page.ts';
import {
  advantage,
  type DoorbellResult,
  interruptRow,
  loopOf,
  type RingRound,
  ringRow,
  yardstickRow,
} from './doorbell-result.ts';
import { formatDoorbell } from './doorbell-table.ts';
import { INTERRUPT_PATHS } from './interrupt-paths.ts';
import { RING_PATHS } from './ring-paths.ts';

const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: 'belfry bench' };

const round = (us: number, more: Partial<RingRound> = {}): RingRound => ({
  rings: 1000,
  bestUs: us,
  elapsedMs: us,
  exits: 0,
  wakes: 0,
  cpuSeconds: us / 1000,
  listenerCpuSeconds: 0,
  disturbed: false,
  ...more,
});

const about = { key: 'a', name: 'a path', listener: 'epoll', in2009: undefined } as const;

test('the loop is subtracted from time and processor time, down to 0 at the least', () => {
  const row = ringRow(about, [round(3), round(4), round(5)], 1.5);
  assert.deepEqual([row.us.median, row.us.min, row.us.max], [2.5, 1.5, 3.5]);
  assert.equal(row.perSecond, 400_000);
  assert.equal(row.cpuSecondsPerMillion.toFixed(6), '2.500000');
  const nothing = ringRow(about, [round(1)], 1.5);
  assert.deepEqual(
    [nothing.us.median, nothing.perSecond, nothing.cpuSecondsPerMillion],
    [0, Number.POSITIVE_INFINITY, 0],
  );
});

test('the time of the loop is that of its best run, disturbed or not', () => {
  assert.equal(loopOf([round(2), round(3, { bestUs: 1, disturbed: true })]), 1);
});

test('rounds in which the guest lost its processor count only where there are no others', () => {
  const bad = round(50, { disturbed: true });
  const some = ringRow(about, [round(3), bad, bad], 1);
  assert.deepEqual([some.us.median, some.disturbed], [2, false]);
  const none = ringRow(about, [bad], 1);
  assert.deepEqual([none.us.median, none.disturbed], [49, true]);
});

test('wakes and exits are for a thousand rings, processor time is the guest’s and the listener’s', () => {
  const row = ringRow(about, [round(3, { wakes: 250, exits: 1000, listenerCpuSeconds: 0.002 })], 1);
  assert.deepEqual([row.wakesPerThousand, row.exitsPerThousand], [250, 1000]);
  assert.equal(row.cpuSecondsPerMillion.toFixed(6), '4.000000');
});

/** A result of every path, the first of them with a name that HTML would misread. */
function sample(): DoorbellResult {
  const rings = RING_PATHS.flatMap(({ key, name, exits, in2009 }, i) =>
    (['nobody', 'epoll', 'polling'] as const).map((listener) => {
      const figure = listener === 'nobody' ? in2009 : undefined;
      const row = { key, name: i === 0 ? `<${name}>` : name, listener, in2009: figure };
      return ringRow(row, [round(exits ? 9 : 3, { exits: exits ? 1000 : 0 })], 1);
    }),
  );
  const machine = { cpuModel: 'a & b', cpus: 2, kernel: '6.1', node: 'v26', isSoftware: true };
  const interrupts = [
    interruptRow(INTERRUPT_PATHS[0] as (typeof INTERRUPT_PATHS)[number], [{ us: 5, handledPerThousand: 1000 }]),
  ];
  const yardstick = [yardstickRow(rings[0] as (typeof rings)[number], [8])];
  return { machine, vcpuCpu: 1, listenerCpu: 0, foreign: 0, loopUs: 1, rings, interrupts, yardstick };
}

test('the advantage of the ioeventfd is the ratio of the rows, by bus', () => {
  assert.equal(advantage(sample(), 'mmio'), 4);
  assert.equal(advantage(sample(), 'pio'), 4);
});

test('the table has a row for each path and listener, the figures of 2009, and says that software is none', () => {
  const text = formatDoorbell(sample(), 120);
  for (const { name } of RING_PATHS.slice(1)) assert.match(text, new RegExp(name));
  assert.equal(text.match(/│ polling {2}│/g)?.length, RING_PATHS.length);
  assert.match(text, /9\.09/);
  assert.match(text, /\(6\.53\)/);
  assert.match(text, /never/);
  assert.match(text, /is software here/);
  assert.match(text, /1\.125/);
  assert.doesNotMatch(text, /Others used/);
  assert.match(
    formatDoorbell({ ...sample(), foreign: 0.5, yardstick: 'not measured: no cc' }, 120),
    /not measured: no cc[\s\S]*Others used 0\.50/,
  );
});

test('the page has charts of everything, in markup that names cannot break', () => {
  const page = formatDoorbellPage(sample(), origin);
  assert.doesNotMatch(page, /NaN|undefined|Infinity|: not measured</);
  assert.doesNotMatch(page, /<exit/);
  assert.match(page, /&lt;exit to user space, MMIO&gt;/);
  assert.match(page, /<g class="s0"><title>&lt;exit/, 'what leaves the guest has its colour');
  assert.match(page, /costs 4\.00x less/);
  assert.match(page, /is software here/);
  assert.equal(page.match(/<svg /g)?.length, 7);
  assert.match(formatDoorbellPage({ ...sample(), yardstick: 'not measured: no cc' }, origin), /not measured: no cc/);
});

test('at any width nothing is cut and nothing is too wide', () => {
  const result = sample();
  for (const columns of [60, 80, 120]) {
    const lines = stripVTControlCharacters(formatDoorbell(result, columns)).split('\n');
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.doesNotMatch(lines.join(' '), /…/);
  }
});
