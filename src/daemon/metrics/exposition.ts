// metrics: the text format of OpenMetrics 1.0 and of Prometheus 0.0.4: families of samples as lines.

export type Labels = Readonly<Record<string, string | number>>;

/** A sample of a counter or a gauge. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** A sample of a histogram. `buckets`: counts by bound, not cumulated, and one more for what is beyond the last bound. */
export interface HistogramSample {
  readonly labels: Labels;
  readonly bounds: readonly number[];
  readonly buckets: readonly number[];
  readonly sum: number;
}

interface FamilyTexts {
  /** With `_total` for a counter, and the unit before that. */
  readonly name: string;
  readonly help: string;
}

/** A metric with its samples. */
export type Family = FamilyTexts &
  (
    | { readonly type: 'counter' | 'gauge'; readonly samples: readonly Sample[] }
    | { readonly type: 'histogram'; readonly samples: readonly HistogramSample[] }
  );

export type Format = 'openmetrics' | 'prometheus';

export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
};

/** Returns the text of all families that have a sample. */
export function exposition(families: readonly Family[], format: Format): string {
  const lines = families.filter(({ samples }) => samples.length > 0).flatMap((family) => familyLines(family, format));
  if (format === 'openmetrics') lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

/** OpenMetrics names a counter without its `_total`, which is of the sample. */
function familyLines(family: Family, format: Format): string[] {
  const { name, help, type } = family;
  const shown = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name;
  const head = [`# HELP ${shown} ${escaped(help, format === 'openmetrics')}`, `# TYPE ${shown} ${type}`];
  if (family.type === 'histogram') return [...head, ...family.samples.flatMap((sample) => bucketLines(name, sample))];
  return [...head, ...family.samples.map(({ labels, value }) => sampleLine(name, labels, value))];
}

function bucketLines(name: string, { labels, bounds, buckets, sum }: HistogramSample): string[] {
  let count = 0;
  const lines = buckets.map((inBucket, i) => {
    count += inBucket;
    const bound = bounds[i];
    return sampleLine(`${name}_bucket`, { ...labels, le: bound === undefined ? '+Inf' : floatText(bound) }, count);
  });
  return [...lines, sampleLine(`${name}_sum`, labels, sum), sampleLine(`${name}_count`, labels, count)];
}

function sampleLine(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(String(text), true)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
}

/** A bound is a float in both formats: `1.0`, and `1.024e-06`. */
function floatText(value: number): string {
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function escaped(text: string, withQuotes: boolean): string {
  const plain = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return withQuotes ? plain.replaceAll('"', '\\"') : plain;
}
