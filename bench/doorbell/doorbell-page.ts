// bench/doorbell: the results as an HTML page.
import { count, formatMicros, formatTimes } from '../figures.ts';
import { type Bar, type BarGroup, barChart } from '../html/bar-chart.ts';
import { type ReportSection, reportPage } from '../html/report-page.ts';
import { machineLine } from '../machine.ts';
import type { Origin } from '../origin.ts';
import { advantage, type DoorbellResult, type InterruptRow, type RingRow, rowOf } from './doorbell-result.ts';
import { conclusion, doorbellNotes, ringFigures, SOFTWARE } from './doorbell-table.ts';
import type { InterruptKind } from './interrupt-paths.ts';
import type { ListenerKind } from './listener-worker.ts';

/** Series (colours) of the bars: exits to user space, ioeventfd, figures of 2009, interrupts, C. */
const LEAVES = 0;
const STAYS = 1;
const OLD = 2;
const INTERRUPTS = 3;
const IN_C = 4;
const LEGEND = [
  'out of the guest, to user space',
  'in the kernel: ioeventfd',
  'the same on hardware of 2009',
  'interrupt: irqfd',
  'the exit loop in C',
];

const SHORTER = 'µs for a ring: shorter is better';
const LISTENERS: readonly (readonly [ListenerKind, string])[] = [
  ['nobody', 'nobody'],
  ['epoll', 'asleep in epoll'],
  ['polling', 'polling'],
];

export function formatDoorbellPage(result: DoorbellResult, origin: Origin): string {
  return reportPage({
    origin,
    title: `A doorbell in the kernel costs ${formatTimes(advantage(result, 'mmio'))} less than leaving the guest`,
    lead:
      'A guest writes a number to an address. Either it leaves for user space, which rings an eventfd; or KVM rings it on the spot ' +
      `(ioeventfd) and the guest runs on. ${result.machine.isSoftware ? SOFTWARE : ''}`,
    legend: LEGEND,
    sections: [ringSection(result), interruptSection(result), yardstickSection(result)],
    footer: [
      'Bars are medians, whiskers reach from the worst round to the best, dots are rounds.',
      ...doorbellNotes(result),
      machineLine(result.machine),
    ],
  });
}

function ringSection(result: DoorbellResult): ReportSection {
  const row = (key: string, listener: ListenerKind = 'nobody'): RingRow => rowOf(result, key, listener);
  const ways = (['mmio', 'pio'] as const).flatMap((bus): BarGroup[] =>
    [`exit-${bus}`, `ioeventfd-${bus}`].map((key) => {
      const one = row(key);
      return { label: one.name, bars: [barOf(one), ...oldBar(one)] };
    }),
  );
  const listeners = LISTENERS.map(([kind, label]) => ({
    label,
    bars: ['exit-mmio', 'ioeventfd-mmio'].map((key) => barOf(row(key, kind))),
  }));
  const cpu = LISTENERS.map(([kind, label]) => ({
    label,
    bars: ['exit-mmio', 'ioeventfd-mmio'].map((key) => costBar(row(key, kind))),
  }));
  const variants = Object.entries({
    '4 bytes': 'ioeventfd-mmio',
    'datamatch, hit': 'ioeventfd-mmio-value',
    'datamatch, miss': 'datamatch-miss',
    'any length': 'ioeventfd-mmio-any',
    '1 of 200': 'among-200',
    '1 of 1000': 'among-1000',
  }).map(([label, key]) => ({ label, bars: [barOf(row(key))] }));
  return {
    heading: 'The guest rings',
    text: [conclusion(result)],
    charts: [
      barChart({ title: 'Nobody listens, here and in 2009', axis: SHORTER, groups: ways, format: formatMicros }),
      barChart({ title: 'Who listens, by MMIO', axis: SHORTER, groups: listeners, format: formatMicros }),
      barChart({ title: 'Kinds of doorbells, by MMIO', axis: SHORTER, groups: variants, format: formatMicros }),
      barChart({
        title: 'What it costs the processors, by MMIO',
        axis: 'µs of processor time for a ring, guest and listener together',
        groups: cpu,
        format: formatMicros,
      }),
    ],
    table: ringFigures(result.rings, true),
  };
}

function barOf(row: RingRow): Bar {
  return { label: `${row.name}, ${row.listener}`, series: seriesOf(row), values: row.usOfRounds };
}

function costBar(row: RingRow): Bar {
  return { label: row.name, series: seriesOf(row), values: [row.cpuSecondsPerMillion] };
}

function seriesOf({ exitsPerThousand }: RingRow): number {
  return exitsPerThousand > 0 ? LEAVES : STAYS;
}

function oldBar({ name, in2009 }: RingRow): Bar[] {
  if (in2009 === undefined) return [];
  const label = `${name}, 2009${in2009.extrapolated ? ', extrapolated' : ''}`;
  return [{ label, series: OLD, values: [in2009.us] }];
}

function interruptSection({ interrupts, machine }: DoorbellResult): ReportSection {
  const charts = (guest: string, rows: readonly InterruptRow[]) =>
    barChart({
      title: guest,
      axis: 'µs for an interrupt: shorter is better',
      groups: rows.map((row) => ({ label: row.label, bars: [interruptBar(row)] })),
      format: formatMicros,
    });
  const of = (kind: InterruptKind, guest: InterruptRow['guest']): InterruptRow[] =>
    interrupts.filter((row) => row.kind === kind && row.guest === guest);
  return {
    heading: 'An eventfd interrupts',
    text: [
      'From the write to the guest’s handler; and the whole circle from the guest’s ring through ioeventfd and irqfd to its own handler, ' +
        'with no user space in it.',
    ],
    charts: [
      charts('To a guest that is halted', [...of('handler', 'asleep'), ...of('circle', 'circle')]),
      charts('To a guest that is busy', of('handler', 'awake')),
    ],
    remarks: [
      ...of('burst', 'awake').map(
        ({ us, handledPerThousand }) =>
          `Written back to back, an eventfd takes ${formatMicros(us.median)} µs, and of a thousand writes the handler sees ` +
          `${handledPerThousand.toFixed(handledPerThousand < 10 ? 1 : 0)}: they coalesce.`,
      ),
      ...(machine.isSoftware
        ? ['A busy guest that is emulated notices an interrupt only when its emulator looks up.']
        : []),
    ],
  };
}

function interruptBar({ name, rounds }: InterruptRow): Bar {
  return { label: name, series: INTERRUPTS, values: rounds.map(({ us }) => us) };
}

function yardstickSection({ yardstick }: DoorbellResult): ReportSection {
  const heading = 'The exit loop in TypeScript and in C';
  if (typeof yardstick === 'string') return { heading, text: [yardstick] };
  const groups = yardstick.map(({ name, usOfRounds, cUsOfRounds }) => ({
    label: name.replace('exit to user space, ', ''),
    bars: [
      { label: 'TypeScript', series: LEAVES, values: usOfRounds },
      { label: 'C', series: IN_C, values: cUsOfRounds },
    ],
  }));
  return {
    heading,
    text: [`Ours over C: ${yardstick.map(({ name, ratio }) => `${name}: ${ratio.toFixed(3)}x`).join('; ')}.`],
    charts: [
      barChart({
        title: 'TypeScript, and C below it',
        axis: 'µs for a ring, with the guest’s loop',
        groups,
        format: formatMicros,
      }),
    ],
    remarks: [`${count(yardstick[0]?.usOfRounds.length ?? 0, 'round')} each, in turn, of each the best run.`],
  };
}
