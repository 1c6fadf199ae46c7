// test/reference: a strict reader of the text formats of metrics: OpenMetrics 1.0 and Prometheus 0.0.4.
import assert from 'node:assert/strict';

export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ReadFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: ReadSample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|\})/;
const UNITS = ['seconds', 'bytes', 'info', 'requests', 'connected', 'paused', 'ratio'];

/** Reads a text. Throws AssertionError where it breaks a rule of the format or of the conventions for names. */
export function readMetrics(text: string, format: 'openmetrics' | 'prometheus'): Map<string, ReadFamily> {
  assert.ok(text.endsWith('\n'));
  const lines = text.slice(0, -1).split('\n');
  if (format === 'openmetrics') assert.equal(lines.pop(), '# EOF');
  const families = new Map<string, ReadFamily>();
  let family: ReadFamily | undefined;
  let help = '';
  for (const line of lines) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === 'HELP') help = rest;
    else if (keyword === 'TYPE') {
      assert.ok(!families.has(name), `${name} is there twice`);
      assert.match(name, /^[a-z_]+$/);
      family = { name, type: rest, help, samples: [] };
      families.set(name, family);
    } else {
      assert.ok(family, `no family: ${line}`);
      family.samples.push(sampleOf(line));
    }
  }
  for (const one of families.values()) checkFamily(one, format);
  return families;
}

function sampleOf(line: string): ReadSample {
  const [name = ''] = NAME.exec(line) ?? [];
  assert.ok(name.length > 0, line);
  let rest = line.slice(name.length);
  const labels: Record<string, string> = {};
  if (rest.startsWith('{')) {
    rest = rest.slice(1);
    for (let end = ','; end === ','; ) {
      const [all = '', label = '', text = '', next = ''] = LABEL.exec(rest) ?? assert.fail(`a label: ${line}`);
      assert.ok(!Object.hasOwn(labels, label), `${label} is there twice: ${line}`);
      labels[label] = text.replaceAll(/\\(.)/g, (_, letter) => (letter === 'n' ? '\n' : letter));
      rest = rest.slice(all.length);
      end = next;
    }
  }
  assert.match(rest, /^ (?:[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf|NaN)$/, line);
  return { name, labels, value: Number(rest) };
}

function checkFamily({ name, type, help, samples }: ReadFamily, format: string): void {
  assert.ok(help.endsWith('.') && help.length > 10, `${name} has no help: ${help}`);
  assert.ok(samples.length > 0, name);
  const plain = name.replace(/_total$/, '');
  if (type === 'counter') assert.equal(name.endsWith('_total'), format === 'prometheus', name);
  else
    assert.ok(
      UNITS.some((unit) => plain.endsWith(`_${unit}`)),
      `${name} has no unit`,
    );
  const series = samples.map(({ name: sample, labels }) => `${sample}${JSON.stringify(Object.entries(labels).sort())}`);
  assert.equal(new Set(series).size, series.length, `a series of ${name} is there twice`);
  if (type === 'histogram') return checkHistogram(name, samples);
  for (const { name: sample, value } of samples) {
    assert.equal(sample, type === 'counter' ? `${plain}_total` : name);
    assert.ok(type !== 'counter' || value >= 0);
  }
}

function checkHistogram(name: string, samples: readonly ReadSample[]): void {
  const without = ({ le: _, ...labels }: ReadSample['labels']): string => JSON.stringify(labels);
  for (const sum of samples.filter((one) => one.name === `${name}_sum`)) {
    const own = samples.filter(({ labels }) => without(labels) === without(sum.labels));
    const buckets = own.filter((one) => one.name === `${name}_bucket`);
    const bounds = buckets.map(({ labels }) => (labels.le === '+Inf' ? Infinity : Number(labels.le)));
    assert.deepEqual(
      bounds,
      bounds.toSorted((a, b) => a - b),
    );
    assert.equal(bounds.at(-1), Infinity);
    const counts = buckets.map(({ value }) => value);
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
    );
    assert.equal(own.find((one) => one.name === `${name}_count`)?.value, counts.at(-1));
  }
}
