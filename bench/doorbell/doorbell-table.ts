// bench/doorbell: the results as text tables.
import pc from 'picocolors';
import { count, formatCount, formatMicros, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { wrapLines } from '../text/columns.ts';
import { type Figures, formatComparison, formatTable } from '../text/table.ts';
import { advantage, type DoorbellResult, type RingRow } from './doorbell-result.ts';

/** The greatest ratio to C that counts as met. */
const RATIO_GOAL = 1.05;

/** On a narrower terminal only the most important columns are shown. */
const ALL_COLUMNS_MIN = 100;

export function formatDoorbell(result: DoorbellResult, columns: number): string {
  const fit = (text: string): string => wrapLines(text, columns);
  const software = result.machine.isSoftware ? [pc.yellow(fit(SOFTWARE))] : [];
  const notes = [...doorbellNotes(result), machineLine(result.machine)].join('\n');
  return [
    [pc.bold('A guest rings'), ...software, ringTable(result.rings, columns), fit(conclusion(result))].join('\n'),
    [pc.bold('An eventfd interrupts'), interruptTable(result, columns)].join('\n'),
    [pc.bold('The exit loop, in TypeScript and in C'), yardstickTable(result, columns)].join('\n'),
    pc.dim(fit(notes)),
  ].join('\n\n');
}

/** How to read the figures: a paragraph each. */
export function doorbellNotes({ rings, vcpuCpu, listenerCpu, loopUs, foreign }: DoorbellResult): string[] {
  const rounds = Math.max(...rings.map((row) => row.rounds.length));
  return [
    `${count(rounds, 'round')}; guest on CPU ${vcpuCpu}, listener and writer on CPU ${listenerCpu}.`,
    `A ring takes what the guest waits for it, without its loop (${formatMicros(loopUs)} µs): the median of the rounds, the least and the most. Its processor time is that of guest and listener together. An exit is out of the guest to user space, which writes the eventfd. Where a ! stands, the guest lost its processor to somebody in every run.`,
    '2009 is the fourth version of the iosignalfd patches; (in brackets) what was extrapolated there; never: not measured then. Of its rows the hypercall is missing here: x86 has no ioeventfd for one.',
    ...(foreign > FOREIGN_MAX
      ? [
          `Others used ${foreign.toFixed(2)} processors meanwhile. Runs that lost theirs were done again, and yet: trust a quiet machine more.`,
        ]
      : []),
  ];
}

/** The note where /dev/kvm is software. */
export const SOFTWARE =
  '/dev/kvm is software here: the processor has no VMX or SVM, and the guest is emulated. Compare rows with each other, not with hardware.';

interface RingColumn {
  readonly title: string;
  /** Left out on a narrow terminal: it follows from others, or matters less. */
  readonly isExtra: boolean;
  cell(row: RingRow): string;
}

const RING_COLUMNS: readonly RingColumn[] = [
  { title: 'listener', isExtra: false, cell: ({ listener }) => listener },
  {
    title: 'rings a second',
    isExtra: true,
    cell: ({ perSecond }) => (Number.isFinite(perSecond) ? formatCount(perSecond) : '-'),
  },
  {
    title: 'µs a ring',
    isExtra: false,
    cell: ({ us, disturbed }) => `${formatMicros(us.median)}${disturbed ? ' !' : ''}`,
  },
  { title: 'least', isExtra: true, cell: ({ us }) => formatMicros(us.min) },
  { title: 'most', isExtra: true, cell: ({ us }) => formatMicros(us.max) },
  {
    title: 'wake-ups for 1000 rings',
    isExtra: false,
    cell: ({ listener, wakesPerThousand }) => (listener === 'nobody' ? '-' : wakesPerThousand.toFixed(0)),
  },
  {
    title: 'processor time a ring, µs',
    isExtra: false,
    cell: ({ cpuSecondsPerMillion }) => cpuSecondsPerMillion.toFixed(2),
  },
  { title: 'µs in 2009', isExtra: false, cell: figureOf2009 },
];

/** A row for each path and listener; all columns, or without the extra ones. */
export function ringFigures(rings: readonly RingRow[], withExtras: boolean): Figures {
  const columns = RING_COLUMNS.filter(({ isExtra }) => withExtras || !isExtra);
  return {
    head: ['way', ...columns.map(({ title }) => title)],
    rows: rings.map((row) => [row.name, ...columns.map(({ cell }) => cell(row))]),
    wordColumns: 2,
  };
}

function ringTable(rings: readonly RingRow[], columns: number): string {
  return formatTable(ringFigures(rings, columns >= ALL_COLUMNS_MIN), columns);
}

function figureOf2009({ in2009 }: RingRow): string {
  if (in2009 === undefined) return 'never';
  return in2009.extrapolated ? `(${in2009.us.toFixed(2)})` : in2009.us.toFixed(2);
}

/** A sentence: how much cheaper the ioeventfd is, here and in 2009. */
export function conclusion(result: DoorbellResult): string {
  const [mmio, pio] = [advantage(result, 'mmio'), advantage(result, 'pio')].map(formatTimes);
  const here = `With nobody listening, an ioeventfd costs ${mmio} less than leaving the guest by MMIO, ${pio} less by PIO`;
  return `${here}; on the hardware of 2009 it was 1.82x by MMIO, 2.40x by PIO (one side of that extrapolated).`;
}

function interruptTable({ interrupts }: DoorbellResult, columns: number): string {
  const head = ['interrupt', 'interrupts a second', 'µs', 'least', 'most', 'handled of 1000'];
  const rows = interrupts.map(({ name, us, handledPerThousand }) => [
    name,
    formatCount(1e6 / us.median),
    ...[us.median, us.min, us.max].map(formatMicros),
    handledPerThousand.toFixed(0),
  ]);
  return formatTable({ head, rows }, columns);
}

function yardstickTable({ yardstick }: DoorbellResult, columns: number): string {
  if (typeof yardstick === 'string') return wrapLines(yardstick, columns);
  const head = [
    'exit',
    'TypeScript, µs',
    'TypeScript, least',
    'TypeScript, most',
    'C, µs',
    'C, least',
    'C, most',
    `TypeScript over C (goal ${RATIO_GOAL})`,
  ];
  const rows = yardstick.map(({ name, us, cUs, ratio }) => [
    name,
    ...[us.median, us.min, us.max, cUs.median, cUs.min, cUs.max].map(formatMicros),
    ratio.toFixed(3),
  ]);
  return formatComparison({ head, rows }, columns);
}
