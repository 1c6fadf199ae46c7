// bench/notify: compares eventfd with signal: the difference, what #78 published, and a remark on the cause. Pure.
import { formatMicros, formatPerThousand, formatTimes } from '../figures.ts';
import { decided, summarize } from '../statistics.ts';
import { gain, type Metric, type NotifyLoad, POLLS, type Poll, PUBLISHED } from './notify-cases.ts';
import { type Comparison, judgedValue, type NotifyRound, type VariantResult } from './notify-result.ts';

interface ComparedRow extends Omit<Comparison, 'remark'> {
  readonly load: NotifyLoad;
  readonly signal: VariantResult;
  readonly eventfd: VariantResult;
}

/** Rounds were run in turns: each is compared with its neighbour in time, not with the mean of all. */
export function compare(load: NotifyLoad, variants: readonly VariantResult[]): Comparison[] {
  const { metric } = load;
  const honest = variants.filter(({ forgetful }) => !forgetful);
  return POLLS.flatMap((poll) => {
    const [signal, eventfd] = (['signal', 'eventfd'] as const).map((doorbell) =>
      honest.find((variant) => variant.poll === poll && variant.doorbell === doorbell),
    );
    if (signal === undefined || eventfd === undefined) return [];
    const gains = signal.rounds.map((round, i) =>
      gain(metric, judgedValue(metric, round), judgedValue(metric, eventfd.rounds[i] as NotifyRound)),
    );
    const published = PUBLISHED[metric][poll];
    const publishedGain = published && gain(metric, published.signal, published.eventfd);
    const row = { poll, gain: summarize(gains), publishedGain };
    return { ...row, remark: remarkOn({ ...row, load, signal, eventfd }) };
  });
}

/** Returns a sentence or two; undefined where there is nothing to explain. */
function remarkOn(row: ComparedRow): string | undefined {
  const { publishedGain, gain, signal, eventfd } = row;
  const disturbed = [signal, eventfd].filter(({ foreign }) => foreign.isTooMuch);
  const differs = publishedGain !== undefined && (publishedGain < gain.min || publishedGain > gain.max);
  if (!differs && !decided(gain)) return undefined;
  const why = differs ? `${PUBLISHED_WHY[row.poll]?.(row)} ` : '';
  if (disturbed.length > 0) {
    const most = Math.max(...disturbed.map(({ foreign }) => foreign.share));
    return `${why}Others used ${most.toFixed(1)} processors here: measure again when they do not.`;
  }
  return `${why}${here(row)}.`;
}

/** The result of the rounds here, with the cause that the counters show. */
function here(row: ComparedRow): string {
  const { gain } = row;
  const range = `half of the rounds ${formatTimes(gain.quartiles[0])} to ${formatTimes(gain.quartiles[1])}`;
  if (!decided(gain)) return `Here there is no difference beyond the spread: ${range}`;
  const percent = (Math.abs(gain.median - 1) * 100).toFixed(0);
  return `Here ${gain.median > 1 ? 'eventfd' : 'the signal'} is ${percent} % better (${range}): ${reasonOf(row)}`;
}

/** Fewer wake-ups for a request than this cannot make a measurable difference. */
const WAKE_UPS_MIN = 0.05;
/** From this ratio of the drivers' sleeps on, the sleeps are the cause. */
const SLEEPS_RATIO = 1.2;

function reasonOf({ gain, signal, eventfd }: ComparedRow): string {
  const most = Math.max(signal.deviceWakeUps.median, eventfd.deviceWakeUps.median);
  if (most < WAKE_UPS_MIN)
    return `with ${formatPerThousand(most)} wake-ups for 1000 requests it can hardly be the doorbell`;
  const [bySignal, byEventFd] = [signal.driverWakeUps.median, eventfd.driverWakeUps.median];
  if (Math.max(bySignal, byEventFd) > SLEEPS_RATIO * Math.min(bySignal, byEventFd)) {
    const sleeps = `${formatPerThousand(bySignal)} against ${formatPerThousand(byEventFd)}`;
    return `it decides whom the scheduler lets go first: of 1000 requests the driver slept for ${sleeps}`;
  }
  return gain.median > 1
    ? 'sending and taking a signal both need a lock of the whole process'
    : 'a wake-up is one system call, where epoll_wait and read are two';
}

const PUBLISHED_WHY: Partial<Record<Poll, (row: ComparedRow) => string>> = {
  off: (row) => ASLEEP_WHY[row.load.metric](row),
  fixed: ({ eventfd, signal, publishedGain = 0 }) => {
    const wakeUps = formatPerThousand(Math.max(eventfd.deviceWakeUps.median, signal.deviceWakeUps.median));
    return (
      `#78 has ${formatTimes(publishedGain)}: a device that polls is seldom asleep (here ${wakeUps} wake-ups for 1000 requests), ` +
      'so how it would be woken can matter little; how often #78 was repeated is not said.'
    );
  },
};

const ASLEEP_WHY: Readonly<Record<Metric, (row: ComparedRow) => string>> = {
  iops: ({ load, publishedGain = 0 }) => {
    const { signal = 1 } = PUBLISHED.iops.off ?? {};
    const deepMs = (load.depth / signal) * 1000;
    const aloneMs = (PUBLISHED.latency.off?.signal ?? 0) / 1000;
    return (
      `#78 has ${formatTimes(publishedGain)}: by Little's law its signal row kept each of ${load.depth} requests for ${deepMs.toFixed(0)} ms, ` +
      `and one alone for ${aloneMs.toFixed(1)} ms: they queued behind something that took ${(deepMs / load.depth).toFixed(1)} ms each, ` +
      'which is not the cost of a signal. Both rows here have the same handshake.'
    );
  },
  bandwidth: ({ load, publishedGain = 0, eventfd }) => {
    const publishedMs = (load.depth / (PUBLISHED.bandwidth.off?.signal ?? 1)) * 1000;
    return (
      `#78 has ${formatTimes(publishedGain)}, with ${publishedMs.toFixed(0)} ms for each MiB in its signal row; here 1 MiB takes the device ` +
      `${formatMicros(eventfd.deviceCpuUs.median)} µs, most of it the copy, beside which a doorbell is little.`
    );
  },
  latency: ({ publishedGain = 0, eventfd }) => {
    const { signal = 0, eventfd: epoll = 0 } = PUBLISHED.latency.off ?? {};
    return (
      `#78 has ${formatTimes(publishedGain)} of ${signal} and ${epoll} µs, where this takes ${formatMicros(eventfd.value.median)} µs: behind ` +
      'virtio-mmio each request there also took two register accesses that waited for the daemon; here it is one kick and one call.'
    );
  },
};
