// bench/text: text and tables fit the columns; a table that does not becomes blocks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { columnsOf, widthOf, wrap, wrapLines } from './columns.ts';
import { formatComparison, formatTable } from './table.ts';

test('columns are those of the terminal; of a pipe those of $COLUMNS, or 120', () => {
  assert.equal(columnsOf({ isTTY: true, columns: 61 }, { COLUMNS: '99' }), 61);
  assert.equal(columnsOf({ isTTY: true, columns: 0 }, {}), 80);
  assert.equal(columnsOf({}, { COLUMNS: '99' }), 99);
  for (const COLUMNS of ['', 'wide', '3', '-80']) assert.equal(columnsOf({}, { COLUMNS }), 120);
  assert.equal(columnsOf({}, {}), 120);
});

test('words are never broken, and no line is too long', () => {
  const text = 'A sentence of words, one of which-is-rather-long, and a /path/that/nobody/can/break at its end.';
  for (let columns = 24; columns < 120; columns++) {
    const lines = wrap(text, columns, { first: '> ', rest: '  ' });
    assert.deepEqual(lines.map((line) => line.slice(2)).join(' '), text);
    for (const line of lines) assert.ok(widthOf(line) <= columns || !line.trim().slice(2).includes(' '), line);
  }
});

test('a wrapped line keeps its indent, and colours have no width', () => {
  assert.equal(wrapLines('  one two three\nshort', 11), '  one two\n  three\nshort');
  assert.equal(wrapLines('\x1b[1mone two\x1b[22m', 7), '\x1b[1mone two\x1b[22m');
});

const figures = {
  head: ['what', 'requests a second', 'latency, µs'],
  rows: [
    ['the first of them', '12.3k', '4.50'],
    ['second', '1.0k', ''],
  ],
};

const shown = (text: string): string[] => stripVTControlCharacters(text).split('\n');

test('a table that has room is one line a row', () => {
  const lines = shown(formatTable(figures, 80));
  assert.match(lines[1] as string, /│ what +│ requests a second │ latency, µs │/);
  assert.match(lines[3] as string, /│ the first of them +│ +12\.3k │ +4\.50 │/);
});

test('in fewer columns titles are wrapped, then names, and never a figure', () => {
  const text = formatTable(figures, 45);
  for (const line of shown(text)) assert.ok(line.length <= 45, line);
  assert.match(text, /requests/);
  assert.match(text, /│ +12\.3k │ +4\.50 │/);
});

test('where no table fits there is a block for each row, without unknown figures', () => {
  assert.deepEqual(shown(formatTable(figures, 30)), [
    'the first of them',
    '  12.3k  requests a second',
    '   4.50  latency, µs',
    'second',
    '  1.0k  requests a second',
  ]);
});

test('things that are compared are side by side, with a row for each figure', () => {
  const lines = shown(formatComparison(figures, 80));
  assert.match(lines[1] as string, /│ what +│ the first of them │ second │/);
  assert.match(lines[3] as string, /│ requests a second │ +12\.3k │ +1\.0k │/);
  assert.deepEqual(shown(formatComparison(figures, 30)), shown(formatTable(figures, 30)));
});

test('a name that repeats is printed once in a table, and in each block', () => {
  const twice = {
    head: ['way', 'who', 'µs'],
    rows: [
      ['a way', 'nobody', '1'],
      ['a way', 'somebody', '2'],
    ],
    wordColumns: 2,
  };
  const table = formatTable(twice, 60);
  assert.equal(table.match(/a way/g)?.length, 1);
  assert.match(table, /│ nobody +│ +1 │/);
  assert.equal(formatTable(twice, 20).match(/a way/g)?.length, 2);
});
