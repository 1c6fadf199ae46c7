// test/model: the tables of docs/notification-reference.md name every step of every model, and only code that exists.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** A row of a table: a step of a model, and its description. */
interface Row {
  readonly step: string;
  readonly standsFor: string;
}

/** The rows under the heading of each model. */
function tablesOf(page: string): Map<string, Row[]> {
  const sections = page.matchAll(/^### `([\w-]+\.pml)`\n((?:(?!#).*\n)*)/gm);
  return new Map(
    [...sections].map(([, model = '', text = '']) => [
      model,
      [...text.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(([, step = '', standsFor = '']) => ({ step, standsFor })),
    ]),
  );
}

/** Its inlines and processes. */
function stepsOf(model: string): string[] {
  return [...model.matchAll(/^(?:inline|proctype) (\w+)/gm)].map(([, name]) => name as string);
}

/** Why `symbol` is not to be found in a file; undefined if it is. A member is written `Class.member` or `Class.#member`. */
function missing(symbol: string, path: string, text: string | undefined): string | undefined {
  if (text === undefined) return `${path} does not exist`;
  const [owner = '', member] = symbol.split('.');
  if (!new RegExp(`^(?:export )?(?:async )?(?:class|function|const) ${owner}\\b`, 'm').test(text))
    return `${path} has no ${owner}`;
  if (member === undefined) return undefined;
  const declaration = new RegExp(`^  (?:readonly |get |async )*${member}(?:<[^>]+>)?(?:\\(| = )`, 'm');
  return declaration.test(text) ? undefined : `${path} has no ${symbol}`;
}

function codeNamed(standsFor: string): { symbol: string; path: string }[] {
  return [...standsFor.matchAll(/`([\w.#]+)` in `(src\/[^`]+)`/g)].map(([, symbol = '', path = '']) => ({
    symbol,
    path,
  }));
}

const tables = tablesOf(read('docs/notification-reference.md'));
const models = globSync('model/*.pml', { cwd: root });

test('a symbol that is not there is missed', () => {
  const text = 'export class Ring {\n  readonly #go = () => 1;\n  stop(): void {}\n}\nexport const END = [];\n';
  for (const symbol of ['Ring', 'Ring.#go', 'Ring.stop', 'END'])
    assert.equal(missing(symbol, 'src/a.ts', text), undefined);
  for (const symbol of ['Rin', 'Ring.go', 'Ring.start', 'Bell', 'Bell.stop'])
    assert.ok(missing(symbol, 'src/a.ts', text));
  assert.ok(missing('Ring', 'src/a.ts', undefined));
});

for (const path of models) {
  const name = basename(path);
  const rows = tables.get(name) ?? [];

  test(`the table of ${name} names each of its steps, and no other`, () => {
    assert.deepEqual(rows.map(({ step }) => step).sort(), stepsOf(read(path)).sort());
  });

  test(`every step of ${name} stands for code that exists, or for the world around it`, () => {
    const problems = rows.flatMap(({ step, standsFor }) => {
      const named = codeNamed(standsFor);
      if (named.length === 0 && !/^the (world|propert)/.test(standsFor)) return [`${step} stands for nothing`];
      return named.flatMap(
        ({ symbol, path: file }) => missing(symbol, file, existsSync(join(root, file)) ? read(file) : undefined) ?? [],
      );
    });
    assert.deepEqual(problems, []);
  });
}

test('no table is about a model that is gone', () => {
  assert.deepEqual([...tables.keys()].sort(), models.map((path) => basename(path)).sort());
});
