// bench/notify: the results of `bench notify` as an HTML page.
import { count, formatMicros, formatTimes } from '../figures.ts';
import { barChart } from '../html/bar-chart.ts';
import { type ReportSection, reportPage } from '../html/report-page.ts';
import { machineLine } from '../machine.ts';
import type { Origin } from '../origin.ts';
import { DOORBELLS } from '../threads/doorbell.ts';
import { DOORBELL_NAMES, LOADS, type Metric, POLL_NAMES, POLLS } from './notify-cases.ts';
import { judgedValue, type NotifyCase, type NotifyResult, type NotifyRound } from './notify-result.ts';
import { formatValue, headOf, lostKicksLine, rowOf } from './notify-table.ts';

const AXES: Readonly<Record<Metric, string>> = {
  iops: 'requests a second: longer is better',
  bandwidth: 'MiB a second: longer is better',
  latency: 'mean latency in µs: shorter is better',
};

/** hvisor-tool's change that replaced signals by eventfd. */
const CHANGE_78 = 'https://github.com/syswonder/hvisor-tool/pull/78';

export function notifyPage(result: NotifyResult, origin: Origin): string {
  return reportPage({
    origin,
    links: { '#78': CHANGE_78 },
    title: 'Waking a virtio device: signal or eventfd, asleep or polling',
    lead: leadOf(result),
    legend: DOORBELLS.map((doorbell) => DOORBELL_NAMES[doorbell]),
    sections: LOADS.map(({ name }) =>
      sectionOf(
        name,
        result.cases.filter(({ load }) => load.name === name),
      ),
    ),
    footer: [
      `Bars are medians of ${count(result.rounds, 'round')} of ${result.secondsPerRound} s, run in turns; whiskers reach from the worst round to the best, dots are rounds.`,
      'The same driver, ring, device and data behind every bar: the real split queue and block device over a disk in memory. Calls go back by eventfd in all.',
      `Fixed polling lasts ${result.fixedPollUs} µs after the last request; adaptive polling learns how long pays.`,
      "The figures of hvisor-tool's change #78 come from a guest on another machine.",
      machineLine(result.machine),
    ],
  });
}

function sectionOf(heading: string, cases: readonly NotifyCase[]): ReportSection {
  const metric = cases[0]?.load.metric ?? 'iops';
  return {
    heading,
    charts: cases.flatMap((one) => [
      chartOf(
        one,
        AXES[metric],
        (round) => judgedValue(metric, round),
        (value) => formatValue(metric, value),
      ),
      chartOf(
        one,
        "the device's processor time for a request in µs: shorter is better",
        (round) => round.deviceCpuUs,
        formatMicros,
      ),
    ]),
    remarks: cases.flatMap((one) => [
      ...one.comparisons.flatMap(({ poll, remark }) =>
        remark === undefined ? [] : [`${one.placement.name}, ${POLL_NAMES[poll]}: ${remark}`],
      ),
      ...lostKicksLine(one).map((line) => `${one.placement.name}: ${line}`),
    ]),
    table: {
      head: headOf(metric),
      rows: cases.flatMap((one) =>
        one.variants
          .filter(({ forgetful }) => !forgetful)
          .map((variant) => {
            const [name = '', ...figures] = rowOf(one, variant);
            return [`${one.placement.name}, ${name}`, ...figures];
          }),
      ),
    },
  };
}

function chartOf(
  one: NotifyCase,
  axis: string,
  value: (round: NotifyRound) => number,
  format: (value: number) => string,
): string {
  const groups = POLLS.map((poll) => ({
    label: POLL_NAMES[poll],
    bars: one.variants
      .filter((variant) => variant.poll === poll && !variant.forgetful)
      .map(({ doorbell, rounds }) => ({
        label: `${POLL_NAMES[poll]}, ${DOORBELL_NAMES[doorbell]}`,
        series: DOORBELLS.indexOf(doorbell),
        values: rounds.map(value),
      })),
  }));
  return barChart({
    title: `Driver and device ${one.placement.name === 'same core' ? 'on one core' : 'on two cores'}`,
    axis,
    groups,
    format,
  });
}

/** The result in two sentences: the effect of the doorbell, and of polling. */
function leadOf(result: NotifyResult): string {
  const isDisturbed = result.cases.some(({ variants }) => variants.some(({ foreign }) => foreign.isTooMuch));
  const doubt = isDisturbed ? ' Others used the processors meanwhile: measure again before relying on it.' : '';
  return findingOf(result) + doubt;
}

function findingOf({ cases }: NotifyResult): string {
  const asleep = cases.flatMap(({ comparisons }) => comparisons.filter(({ poll }) => poll === 'off'));
  const gains = asleep.map(({ gain }) => gain.median);
  const published = asleep.flatMap(({ publishedGain }) => publishedGain ?? []);
  const doorbell =
    `With nobody polling, eventfd is ${formatTimes(Math.min(...gains))} to ${formatTimes(Math.max(...gains))} as good as a signal ` +
    `where hvisor-tool's change #78, which replaced the signal by an eventfd, published ${formatTimes(Math.min(...published))} to ${formatTimes(Math.max(...published))}.`;
  const alone = cases.find(({ load, placement }) => load.metric === 'latency' && placement.name === 'across cores');
  const at = (poll: string): number =>
    alone?.variants.find((one) => one.poll === poll && one.doorbell === 'eventfd' && !one.forgetful)?.value.median ?? 0;
  if (alone === undefined) return doorbell;
  const polling = `What matters is whether the device sleeps: one request at a time across cores takes ${formatMicros(at('off'))} µs asleep, `;
  return `${doorbell} ${polling}${formatMicros(at('fixed'))} µs polling, ${formatMicros(at('auto'))} µs when it learns whether to poll.`;
}
