// cli: the tables of `belfry ctl`: what is served, what it does a second, the state of its queues.
import type { ResultOf } from '../daemon/control/methods.ts';
import { formatSize } from '../stores/size.ts';
import { bytes, millis } from './quantities.ts';

type Listed = ResultOf<'list'>['devices'][number];
export type Totals = ResultOf<'stats'>['devices'][number];
type Queue = ResultOf<'queues'>['queues'][number];

/** Returns rows as lines. The first column is aligned to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const cell = (text: string, i: number): string =>
    i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  return all.map((row) => row.map(cell).join('  ').trimEnd());
}

export function listTable(devices: readonly Listed[]): string[] {
  const rows = devices.map((one) => [
    one.device,
    one.kind,
    one.sizeBytes === undefined ? '-' : `${formatSize(one.sizeBytes)}${one.readOnly === true ? ' ro' : ''}`,
    `${one.queues}`,
    `${one.threads}`,
    one.paused ? 'paused' : one.connected ? 'connected' : 'waiting',
    millis(one.upMs),
    one.socket ?? '-',
    one.about,
  ]);
  return table(['device', 'kind', 'size', 'queues', 'threads', 'state', 'up', 'socket', 'about'], rows);
}

const EXTENDED = [
  'device',
  'r/s',
  'w/s',
  'other/s',
  'err/s',
  'rMiB/s',
  'wMiB/s',
  'in flight',
  'p50 µs',
  'p99 µs',
] as const;
const STATS_HEAD = [...EXTENDED, 'kicks/s', 'calls/s', 'poll hit %'];

/** A row a device of what it did in `seconds`, as `iostat -x` has it. */
export function statsTable(now: readonly Totals[], before: readonly Totals[], seconds: number): string[] {
  const rows = now.map((one) => {
    const old = before.find(({ device }) => device === one.device);
    return rowOf(one, old, seconds);
  });
  return table(STATS_HEAD, rows);
}

function rowOf(now: Totals, old: Totals | undefined, seconds: number): string[] {
  const perSecond = (value: number, was = 0): string => number(Math.max(0, value - was) / seconds);
  const of = (totals: Totals | undefined, wanted: (kind: string, outcome: string) => boolean): number =>
    (totals?.requestsByKind ?? []).reduce(
      (sum, { kind, outcome, count }) => sum + (wanted(kind, outcome) ? count : 0),
      0,
    );
  const kinds = (wanted: (kind: string, outcome: string) => boolean): string =>
    perSecond(of(now, wanted), of(old, wanted));
  const isDisk = now.requestsByKind !== undefined;
  const isOther = (kind: string): boolean => kind !== 'read' && kind !== 'write';
  const polls = (now.pollHits ?? 0) - (old?.pollHits ?? 0);
  const misses = (now.pollMisses ?? 0) - (old?.pollMisses ?? 0);
  return [
    now.device,
    isDisk ? kinds((kind) => kind === 'read') : '-',
    isDisk ? kinds((kind) => kind === 'write') : '-',
    isDisk ? kinds(isOther) : perSecond(now.requests, old?.requests),
    isDisk ? kinds((_, outcome) => outcome !== 'ok') : '-',
    number(Math.max(0, now.bytesRead - (old?.bytesRead ?? 0)) / seconds / 2 ** 20),
    number(Math.max(0, now.bytesWritten - (old?.bytesWritten ?? 0)) / seconds / 2 ** 20),
    `${now.inFlight}`,
    quantile(now, old, 0.5),
    quantile(now, old, 0.99),
    perSecond(now.kicks, old?.kicks),
    perSecond(now.calls, old?.calls),
    polls + misses <= 0 ? '-' : number((100 * polls) / (polls + misses)),
  ];
}

function number(value: number): string {
  return value >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(value < 10 ? 2 : 1);
}

/** The upper bound of the bucket with the quantile, in µs. */
function quantile({ latency }: Totals, old: Totals | undefined, share: number): string {
  const counts = latency.buckets.map((count, i) => count - (old?.latency.buckets[i] ?? 0));
  const wanted = share * counts.reduce((sum, count) => sum + count, 0);
  if (wanted <= 0) return '-';
  let sum = 0;
  const at = counts.findIndex((count) => {
    sum += count;
    return sum >= wanted;
  });
  const boundNs = latency.boundsNs[at];
  return boundNs === undefined ? `>${number((latency.boundsNs.at(-1) ?? 0) / 1000)}` : `≤${number(boundNs / 1000)}`;
}

export function queueTable(queues: readonly Queue[]): string[] {
  const ago = (ms: number | undefined): string => (ms === undefined ? 'never' : millis(ms));
  const rows = queues.map((one) => [
    `${one.queue}`,
    one.runs + (one.polled ? ', polled' : ''),
    `${one.popped}`,
    `${one.givenBack}`,
    `${one.waiting}`,
    `${one.inFlight}`,
    one.oldest?.[0] === undefined ? '-' : millis(one.oldest[0].ageMs),
    `${one.requests}`,
    ago(one.lastKickAgoMs),
    ago(one.lastCallAgoMs),
    Object.entries(one.words)
      .map(([name, value]) => `${name} ${value}`)
      .join(' '),
  ]);
  const head = [
    'queue',
    'state',
    'popped',
    'returned',
    'waiting',
    'in flight',
    'oldest',
    'requests',
    'kick',
    'call',
    'ring',
  ];
  return table(head, rows);
}

type Limits = ResultOf<'limits'>['limits'];

export function limitTable(limits: Limits): string[] {
  const rows = limits.map(({ scope, iops = 0, bps = 0, burst = 1 }) => {
    const isLimited = iops > 0 || bps > 0;
    return [scope, iops > 0 ? `${iops}` : '-', bps > 0 ? `${bytes(bps)}/s` : '-', isLimited ? `${burst}` : '-'];
  });
  return table(['scope', 'iops', 'bytes', 'burst s'], rows);
}
