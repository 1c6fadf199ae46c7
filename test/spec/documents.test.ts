// test/spec: the documents agree with the source: files, links, error codes, events, lines of output.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { suite, test } from 'node:test';
import { describeQueue, type QueueReport } from '../../src/transports/queue/queue-report.ts';
import { EVENTS } from '../../src/virtio/log.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const ROOMS = '{bin,src,bench,guests,demo,doctor,test,examples,scripts,model}';
const pages = globSync(['README.md', 'docs/*.md', `${ROOMS}/**/README.md`], { cwd: root });

const sources = new Set(globSync(`${ROOMS}/**/*.{ts,sh,pml}`, { cwd: root }).map((path) => basename(path)));

const PATH = /(?:bin|src|bench|guests|demo|doctor|test|examples|scripts|model)\/[\w./-]*[\w-]|docs\/[\w-]+\.md/.source;
const FILE = /(?:\.\.\/)*(?!my-)[\w-]+(?:\.test)?\.(?:ts|sh|pml)/.source;

/**
 * What a page names in backticks: paths from the root of the repository (`src/sys/file.ts`, `docs/kvm.md`), and sources without
 * their folder (`file.ts`). A reader's own files are called `my-…`.
 */
function filesNamed(page: string, text: string): string[] {
  const names = text.matchAll(new RegExp(`\`(${PATH}|${FILE})/?\``, 'g'));
  return [...names].map(([, name = '']) => (name.startsWith('../') ? normalize(join(dirname(page), name)) : name));
}

const isThere = (name: string): boolean => (name.includes('/') ? existsSync(join(root, name)) : sources.has(name));

/** What a page links to in this repository: a path from the root, and the anchor, empty where there is none. */
function linksOf(page: string, text: string): { target: string; anchor: string }[] {
  return [...text.matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(([, path = '', anchor = '']) => ({
    target: path === '' ? page : normalize(join(dirname(page), path)),
    anchor,
  }));
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

suite('files and links', () => {
  test('names, links and anchors are found in a page', () => {
    const text =
      '# A b: `c`, d\n`src/a.ts` [x](b.md#a-b) [y](../c.ts) [z](#d) [w](https://e.f/g) `src/*.ts` `src/sys` `my-disk.ts` `a.ts` `../b.ts`';
    assert.deepEqual(filesNamed('docs/a.md', text), ['src/a.ts', 'src/sys', 'a.ts', 'b.ts']);
    assert.deepEqual(linksOf('docs/a.md', text), [
      { target: 'docs/b.md', anchor: 'a-b' },
      { target: 'c.ts', anchor: '' },
      { target: 'docs/a.md', anchor: 'd' },
    ]);
    assert.deepEqual(anchorsOf(text), ['a-b-c-d']);
  });

  for (const page of pages)
    test(`${page} names and links only what exists`, () => {
      const text = read(page);
      const missing = filesNamed(page, text).filter((name) => !isThere(name));
      const dead = linksOf(page, text).filter(({ target, anchor }) => {
        if (!existsSync(join(root, target))) return true;
        return anchor !== '' && target.endsWith('.md') && !anchorsOf(read(target)).includes(anchor);
      });
      assert.deepEqual({ missing, dead }, { missing: [], dead: [] });
    });
});

/** A folder's sources without their tests, as one text. */
function sourcesOf(pattern: string): string {
  const paths = globSync(pattern, { cwd: root, exclude: (path) => path.endsWith('.test.ts') });
  return paths.map(read).join('\n');
}

/** The rows of the table under a heading: what is in backticks in the first column, and the other columns. */
function tableUnder(heading: string, text: string): Map<string, string[]> {
  const [, section = ''] = new RegExp(`^## ${heading}\n((?:(?!## ).*\n)*)`, 'm').exec(text) ?? [];
  const rows = [...section.matchAll(/^\| `([\w-]+)` \| (.*) \|$/gm)];
  return new Map(rows.map(([, name = '', rest = '']) => [name, rest.split(' | ')]));
}

/** The codes that classes of errors have. */
const codesIn = (text: string): string[] =>
  [...text.matchAll(/^ {2}readonly code = '([A-Z_]+)'/gm)].map(([, code = '']) => code);

/** The events that are printed as JSON, beside those of EVENTS: `event: 'queues'`, or a parameter of that type. */
function eventsIn(text: string): string[] {
  const literals = text.matchAll(/\bevent: ('[\w-]+'(?: \| '[\w-]+')*)/g);
  return [...literals].flatMap(([, names = '']) => names.split(' | ').map((name) => name.slice(1, -1)));
}

suite('docs/errors.md', () => {
  const page = read('docs/errors.md');

  test('codes and events are found in a source', () => {
    assert.deepEqual(codesIn("class A extends Error {\n  readonly code = 'NOT_SO';\n}"), ['NOT_SO']);
    assert.deepEqual(eventsIn("say({ event: 'a-b', level }); f(event: 'c' | 'd', x)"), ['a-b', 'c', 'd']);
  });

  test('it has every error code of the source, and no other', () => {
    const codes = codesIn(sourcesOf('{src,demo,guests,doctor,bench}/**/*.ts'));
    assert.ok(codes.length > 8, `${codes.length} codes`);
    assert.deepEqual([...tableUnder('Errors', page).keys()].sort(), codes.toSorted());
  });

  test('it has every event of the source, with its level, and no other', () => {
    const printed = eventsIn(sourcesOf('src/cli/{serve*,main}.ts'));
    const table = tableUnder('Events', page);
    assert.deepEqual([...table.keys()].sort(), [...new Set([...Object.keys(EVENTS), ...printed])].sort());
    const levels = Object.keys(EVENTS).map((event) => [event, table.get(event)?.[0]]);
    assert.deepEqual(Object.fromEntries(levels), EVENTS);
  });

  test('every line it explains is one that the source prints', () => {
    const code = sourcesOf('{src,bin}/**/*.ts');
    const lines = [...page.matchAll(/\*\*`([^`]+)`\*\*/g)].map(([, line = '']) => line);
    assert.ok(lines.length > 30, `${lines.length} lines`);
    // What stands for something else: capitals, a lone letter, an ellipsis. The longest piece between them is from the source.
    const pieces = lines.map(
      (line) => line.split(/[A-Z]{2,}|\b[A-Z]\b|…|\d+/).toSorted((a, b) => b.length - a.length)[0],
    );
    assert.deepEqual(
      pieces.filter((piece = '') => !code.includes(piece.trim())),
      [],
    );
  });
});

test('every line of a queue in docs/debug-a-hang.md is one that SIGUSR2 prints', () => {
  const words = { availableFlags: 0, availableIndex: 0, usedEvent: 0, usedFlags: 0, usedIndex: 0, availEvent: 0 };
  const counts = { requests: 0, kicks: 0, calls: 0, lastKickAgoMs: 0, lastCallAgoMs: 0 };
  const idle: QueueReport = {
    ...{ queue: 0, runs: 'running', words, popped: 0, givenBack: 0, inFlight: 0, waiting: 0, polled: false },
    ...counts,
  };
  const printed = [idle, { ...idle, waiting: 1 }, { ...idle, inFlight: 1 }, { ...idle, runs: 'broken' as const }];
  const shape = (line: string): string => line.replaceAll(/\d+(?:\.\d+)?/g, '#');
  const known = new Set(printed.map((report) => shape(describeQueue(report))));
  const shown = read('docs/debug-a-hang.md').match(/(?<=^belfry: )queue \d+: .*; ring: .*$/gm) ?? [];
  assert.ok(shown.length > 4, `${shown.length} lines`);
  assert.deepEqual(
    shown.filter((line) => !known.has(shape(line))),
    [],
  );
});
