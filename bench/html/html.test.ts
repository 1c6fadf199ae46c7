// bench/html: charts and pages are whole, whatever they are given.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axisTicks, barChart } from './bar-chart.ts';
import { reportPage } from './report-page.ts';

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
    const ticks = axisTicks(most);
    assert.equal(ticks[0], 0);
    assert.ok((ticks.at(-1) as number) >= most * (1 - 1e-9), `${most}: ${ticks}`);
    assert.ok(ticks.length >= 3 && ticks.length <= 6, `${most}: ${ticks}`);
  }
  assert.deepEqual(axisTicks(0), [0, 1]);
});

test('a bar shows the median, with whiskers to the extremes and a dot for each round', () => {
  assert.match(chart, /<title>one: 3k, 2k to 4k in 3 rounds<\/title>/);
  assert.equal(chart.match(/<circle/g)?.length, 3);
  // The axis ends at 4: the median lies at three quarters of the plot, the whiskers at a half and at its end.
  assert.match(chart, /<rect x="150" y="30" width="255"/);
  assert.match(chart, /M320 37.5H490/);
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
  const ticks = [...made.matchAll(/class="middle tick">([^<]*)</g)].map(([, tick]) => tick);
  assert.deepEqual(ticks, ['0M', '0.5M', '1M', '1.5M', '2M']);
});

test('text in charts and pages cannot become markup', () => {
  assert.match(chart, /A &lt;b&gt; &amp; &quot;c&quot;/);
  const page = reportPage({
    title: '<script>',
    lead: '<i>',
    legend: ['<u>'],
    sections: [{ heading: '<s>', text: ['<p2>'], remarks: ['<q>'], table: { head: ['<th2>'], rows: [['<td2>']] } }],
    footer: ['<f>'],
  });
  for (const tag of ['script', 'i', 'u', 's', 'p2', 'q', 'th2', 'td2', 'f']) {
    assert.ok(!page.includes(`<${tag}>`), tag);
    assert.ok(page.includes(`&lt;${tag}&gt;`), tag);
  }
});

test('a page needs nothing from outside, and closes what it opens', () => {
  const page = reportPage({
    title: 't',
    lead: 'l',
    legend: ['a'],
    sections: [{ heading: 'h', charts: [chart] }],
    footer: [],
  });
  assert.doesNotMatch(page, /https?:|<script|<link|@import|url\(/);
  for (const tag of ['svg', 'g', 'text', 'section', 'figure', 'div', 'style', 'footer', 'html']) {
    const opened = page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length;
    assert.equal(opened, page.match(new RegExp(`</${tag}>`, 'g'))?.length, tag);
  }
});
