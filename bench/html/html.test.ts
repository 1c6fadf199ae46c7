// bench/html: charts and pages are well-formed, whatever text they contain.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axisFor, linearTicks } from './axis.ts';
import { type BarChart, barChart } from './bar-chart.ts';
import { reportPage } from './report-page.ts';

const origin = { date: '2030-01-02T03:04:05.678Z', belfry: '9.8.7', commandLine: './belfry bench <x>' };

const chart = barChart({
  title: 'A <b> & "c"',
  axis: 'requests a second',
  groups: [
    { label: 'off', bars: [{ label: 'one', series: 0, values: [2, 4, 3] }] },
    { label: 'on', bars: [{ label: 'two', series: 1, values: [] }] },
  ],
  format: (value) => `${value}k`,
});

test('axis ticks are a few round numbers from 0 to beyond the greatest value', () => {
  for (const most of [1e-7, 0.3, 1, 1.01, 7, 99, 100, 123_456, 5e9]) {
    const ticks = linearTicks(most);
    assert.equal(ticks[0], 0);
    assert.ok((ticks.at(-1) as number) >= most * (1 - 1e-9), `${most}: ${ticks}`);
    assert.ok(ticks.length >= 3 && ticks.length <= 6, `${most}: ${ticks}`);
  }
  assert.deepEqual(linearTicks(0), [0, 1]);
});

test('a bar shows the median, with whiskers to the extremes and a dot for each round', () => {
  assert.match(chart, /<title>one: 3k, 2k to 4k in 3 rounds<\/title>/);
  assert.equal(chart.match(/<circle/g)?.length, 3);
  // The axis ends at 4: the median is at three quarters of the plot, the whiskers at a half and at its end.
  assert.match(chart, /<rect x="1" y="42" width="207.8"/);
  assert.match(chart, /M139.5 49H278/);
  assert.match(chart, /two: not measured/);
});

test('ticks are written without needless zeros', () => {
  const values = { label: 'a', series: 0, values: [2] };
  const made = barChart({
    title: 't',
    axis: 'a',
    groups: [{ label: 'g', bars: [values] }],
    format: (n) => `${n.toFixed(2)}M`,
  });
  const ticks = [...made.matchAll(/class="(?:start|middle) tick">(\d[^<]*)</g)].map(([, tick]) => tick);
  assert.deepEqual(ticks, ['0M', '0.5M', '1M', '1.5M', '2M']);
});

test('text in charts and pages cannot become markup', () => {
  assert.match(chart, /A &lt;b&gt; &amp; &quot;c&quot;/);
  const page = reportPage({
    origin,
    title: '<script>',
    lead: '<i>',
    legend: ['<u>'],
    sections: [{ heading: '<s>', text: ['<p2>'], remarks: ['<q>'], table: { head: ['<th2>'], rows: [['<td2>']] } }],
    footer: ['<f>'],
  });
  for (const tag of ['script', 'i', 'u', 's', 'p2', 'q', 'th2', 'td2', 'f', 'x']) {
    assert.ok(!page.includes(`<${tag}>`), tag);
    assert.ok(page.includes(`&lt;${tag}&gt;`), tag);
  }
});

test('a page needs nothing from outside, and closes what it opens', () => {
  const page = reportPage({
    origin,
    title: 't',
    lead: 'l',
    legend: ['a'],
    sections: [{ heading: 'h', charts: [chart] }],
    footer: [],
  });
  assert.doesNotMatch(page, /https?:|<script|<link|@import|url\(|src=/);
  for (const tag of ['svg', 'g', 'text', 'section', 'figure', 'div', 'style', 'main', 'footer', 'html']) {
    const opened = page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length;
    assert.equal(opened, page.match(new RegExp(`</${tag}>`, 'g'))?.length, tag);
  }
});

test('regression: a page has the date, the version of Belfry and the command line of its measurement', () => {
  const page = reportPage({ origin, title: 't', lead: 'l', legend: [], sections: [], footer: [] });
  assert.match(page, /2030-01-02 03:04 UTC, Belfry 9\.8\.7: \.\/belfry bench &lt;x&gt;/);
});

test('regression: a word that is explained elsewhere is a link wherever it stands in a sentence', () => {
  const links = { '#78': 'https://example.org/?a=1&b' };
  const sections = [{ heading: '#78', text: ['of #78, <b>'], remarks: ['#78'] }];
  const page = reportPage({ origin, links, title: '#78', lead: 'as #78 says', legend: [], sections, footer: ['#78.'] });
  const link = '<a href="https://example.org/?a=1&amp;b">#78</a>';
  for (const place of [`as ${link} says`, `<p>of ${link}, &lt;b&gt;</p>`, `<li>${link}</li>`, `<p>${link}.</p>`])
    assert.ok(page.includes(place), place);
  assert.equal(page.split(link).length, 5);
});

test('regression: where a bar would not be seen beside the longest, the axis goes by powers of ten, and says so', () => {
  const axis = axisFor([8.9, 2172], 2500);
  assert.deepEqual([axis.isLogarithmic, axis.ticks], [true, [1, 10, 100, 1000, 10_000]]);
  assert.deepEqual([axis.position(1), axis.position(100), axis.position(0)], [0, 0.5, 0]);
  assert.equal(axisFor([100, 2172], 2500).isLogarithmic, false);
  assert.equal(axisFor([0, 0], 0).isLogarithmic, false);
  const bars = (value: number) => ({ label: 'b', series: 0, values: [value] });
  const drawn: BarChart = {
    title: 't',
    axis: 'µs',
    groups: [{ label: 'g', bars: [8.9, 2172].map(bars) }],
    format: String,
  };
  assert.match(barChart(drawn), /ten times the one before/);
});

const PHONE_CSS_PIXELS = 320;
/** What page and figure leave of it on each side. */
const MARGINS = 2 * (12 + 8 + 1);
const LEGIBLE_PIXELS = 11;

test('regression: text in a chart is legible on a phone, and lines end within it', () => {
  const long = 'a title that is much longer than a phone is wide, and would be cut at its edge';
  const made = barChart({ title: long, axis: long, groups: [], format: String });
  const width = Number(/viewBox="0 0 (\d+) /.exec(made)?.[1]);
  const page = reportPage({ origin, title: 't', lead: 'l', legend: [], sections: [], footer: [] });
  const sizes = [...page.matchAll(/font(?:-size)?:(\d+(?:\.\d+)?)px/g)].map(([, size]) => Number(size));
  const inCharts = Math.min(...sizes.filter((size) => size < 16));
  assert.ok((inCharts * (PHONE_CSS_PIXELS - MARGINS)) / width >= LEGIBLE_PIXELS, `${inCharts} px of ${width}`);
  const lines = [...made.matchAll(/<text[^>]*>([^<]*)</g)].map(([, line = '']) => line);
  // A letter is about half as wide as the font is high.
  for (const line of lines) assert.ok(line.length * 0.55 * inCharts <= width + 20, line);
});
