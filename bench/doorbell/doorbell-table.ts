// bench/doorbell: the results as tables for people.
import Table from 'cli-table3';
import pc from 'picocolors';
import { formatCount, formatMicros, formatTimes } from '../figures.ts';
import { machineLine } from '../machine.ts';
import { FOREIGN_MAX } from '../processor-use.ts';
import { advantage, type DoorbellResult, type RingRow } from './doorbell-result.ts';

/** What an exit loop may cost, in that of C. */
const RATIO_GOAL = 1.05;

const style = { head: [], border: [], compact: true };

export function formatDoorbell(result: DoorbellResult): string {
  const software = result.machine.isSoftware ? [pc.yellow(SOFTWARE)] : [];
  return [
    [pc.bold('A guest rings'), ...software, ringTable(result.rings), `${conclusion(result)}`].join('\n'),
    [pc.bold('An eventfd interrupts'), interruptTable(result)].join('\n'),
    [pc.bold('The exit loop, in TypeScript and in C'), yardstickTable(result)].join('\n'),
    pc.dim([...doorbellNotes(result), machineLine(result.machine)].join('\n')),
  ].join('\n\n');
}

/** How to read the figures: a line each. */
export function doorbellNotes({ rings, vcpuCpu, listenerCpu, loopUs, foreign }: DoorbellResult): string[] {
  const rounds = Math.max(...rings.map((row) => row.rounds.length));
  const others = foreign.toFixed(2);
  return [
    `${rounds} rounds; guest on CPU ${vcpuCpu}, listener and writer on CPU ${listenerCpu}.`,
    `µs: what the guest waits for one ring, without its loop (${formatMicros(loopUs)} µs): median of the rounds, and where they lie.`,
    'exit: out of the guest to user space, which writes the eventfd. wakes: for 1000 rings. CPU s/M: seconds of guest and listener',
    'together for a million rings. !: in every run the guest lost its processor to somebody.',
    '2009: the iosignalfd patches, v4; (in brackets) extrapolated there; never: not measured then. Of its rows the hypercall is',
    'missing here: x86 has no ioeventfd for one.',
    ...(foreign > FOREIGN_MAX
      ? [
          `Others used ${others} processors meanwhile. Runs that lost theirs were done again, and yet: trust a quiet machine more.`,
        ]
      : []),
  ];
}

/** What is to be said where /dev/kvm is software. */
export const SOFTWARE =
  '/dev/kvm is software here: the processor has no VMX or SVM, and the guest is emulated. Compare rows with each other, not with hardware.';

export const RING_HEAD = ['', 'listener', 'rings/s', 'µs', 'min..max', 'wakes', 'CPU s/M', '2009 µs'];

function ringTable(rings: readonly RingRow[]): string {
  const table = new Table({ head: RING_HEAD, style, colAligns: ['left', 'left', ...Array<'right'>(6).fill('right')] });
  for (const row of rings) table.push([row.listener === 'nobody' ? row.name : '', ...ringCells(row)]);
  return table.toString();
}

/** What stands in a row behind the name. */
export function ringCells(row: RingRow): string[] {
  return [
    row.listener,
    Number.isFinite(row.perSecond) ? formatCount(row.perSecond) : '-',
    `${formatMicros(row.us.median)}${row.disturbed ? ' !' : ''}`,
    `${formatMicros(row.us.min)}..${formatMicros(row.us.max)}`,
    row.listener === 'nobody' ? '-' : row.wakesPerThousand.toFixed(0),
    row.cpuSecondsPerMillion.toFixed(2),
    figureOf2009(row),
  ];
}

function figureOf2009({ in2009 }: RingRow): string {
  if (in2009 === undefined) return 'never';
  return in2009.extrapolated ? `(${in2009.us.toFixed(2)})` : in2009.us.toFixed(2);
}

/** How much cheaper the ioeventfd is, here and then. */
export function conclusion(result: DoorbellResult): string {
  const [mmio, pio] = [advantage(result, 'mmio'), advantage(result, 'pio')].map(formatTimes);
  const here = `With nobody listening, an ioeventfd costs ${mmio} less than leaving the guest by MMIO, ${pio} less by PIO`;
  return `${here}; on the hardware of 2009 it was 1.82x by MMIO, 2.40x by PIO (one side of that extrapolated).`;
}

function interruptTable({ interrupts }: DoorbellResult): string {
  const head = ['', '/s', 'µs', 'min..max', 'handled /1k'];
  const table = new Table({ head, style, colAligns: ['left', 'right', 'right', 'right', 'right'] });
  for (const { name, us: time, handledPerThousand } of interrupts) {
    const spread = `${formatMicros(time.min)}..${formatMicros(time.max)}`;
    table.push([
      name,
      formatCount(1e6 / time.median),
      formatMicros(time.median),
      spread,
      handledPerThousand.toFixed(0),
    ]);
  }
  return table.toString();
}

function yardstickTable({ yardstick }: DoorbellResult): string {
  if (typeof yardstick === 'string') return yardstick;
  const head = ['', 'TypeScript µs', 'min..max', 'C µs', 'min..max', `ratio, goal ${RATIO_GOAL}`];
  const table = new Table({ head, style, colAligns: ['left', ...Array<'right'>(5).fill('right')] });
  for (const { name, us: ours, cUs, ratio } of yardstick) {
    const spread = (summary: typeof ours): string => `${formatMicros(summary.min)}..${formatMicros(summary.max)}`;
    table.push([
      name,
      formatMicros(ours.median),
      spread(ours),
      formatMicros(cUs.median),
      spread(cUs),
      ratio.toFixed(3),
    ]);
  }
  return table.toString();
}
