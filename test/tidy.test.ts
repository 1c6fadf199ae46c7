// The rules of the house, held over the whole tree; each rule is first shown to catch what breaks it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { stages } from '../scripts/stages.ts';
import { CIRCLES, circlesIn } from './tidy/circles.ts';
import { frontDoors, unusedPassages } from './tidy/front-doors.ts';
import { houseRules } from './tidy/house-rules.ts';
import { exportsOf, hasHoverText } from './tidy/hover-text.ts';
import type { Rule, SourceFile } from './tidy/source-file.ts';
import { ffiStaysInTheCellar, importsGoDown, packagesStayUp } from './tidy/stairs.ts';

const root = dirname(import.meta.dirname);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const TREE = [
  '{bin,src,bench,guests,demo,doctor,test,examples,scripts}/**/*.{ts,sh}',
  '*.md',
  'docs/**/*.md',
  'src/**/*.md',
  'examples/*.md',
];
const files: SourceFile[] = globSync(TREE, { cwd: root }).map((path) => ({ path, text: read(path) }));

const dependencies = Object.keys(JSON.parse(read('package.json')).dependencies);
const rules: Rule[] = [importsGoDown, packagesStayUp(dependencies), ffiStaysInTheCellar, frontDoors, ...houseRules];

for (const rule of rules) {
  suite(rule.name, () => {
    test('the rule finds what breaks it, and only that', () => {
      for (const sample of rule.bad) {
        const judged = rule.appliesTo(sample.path) ? rule.findings(sample) : [];
        assert.notDeepEqual(judged, [], `not caught: ${sample.path}: ${sample.text}`);
      }
      for (const sample of rule.good) assert.deepEqual(rule.findings(sample), [], sample.text);
    });

    test('the tree keeps it', () => {
      const judged = files.filter(({ path }) => rule.appliesTo(path));
      assert.ok(judged.length > 0, 'no file is judged by this rule');
      assert.deepEqual(
        judged.flatMap((file) => rule.findings(file).map((finding) => `${file.path}: ${finding}`)),
        [],
      );
    });
  });
}

test('no passage beside the front doors is listed in vain', () => {
  assert.deepEqual(unusedPassages(files), []);
});

suite('there are no circles of imports, those of types included', () => {
  test('the rule finds what breaks it, and only that', () => {
    for (const tree of CIRCLES.bad) assert.equal(circlesIn(tree).length, 1, JSON.stringify(tree));
    for (const tree of CIRCLES.good) assert.deepEqual(circlesIn(tree), [], JSON.stringify(tree));
  });

  test('the tree keeps it', () => {
    assert.deepEqual(circlesIn(files), []);
  });
});

test('every test file belongs to a stage of npm test', () => {
  const staged = new Set(stages.flatMap(({ files: globs = [] }) => globSync(globs, { cwd: root })));
  const all = globSync('{bin,src,bench,guests,demo,doctor,test,examples,scripts}/**/*.test.ts', { cwd: root });
  assert.deepEqual(
    all.filter((path) => !staged.has(path)),
    [],
  );
  assert.ok(all.length > 0);
});

test('regression: whatever can be imported has a docstring, which editors show', () => {
  const sample = "export { a, type B as C } from './b.ts';\nexport type { D } from '../d.ts';\n";
  assert.deepEqual(
    exportsOf('src/x/index.ts', sample).map(({ name, path }) => `${name} ${path}`),
    ['a src/x/b.ts', 'B src/x/b.ts', 'D src/d.ts'],
  );
  assert.equal(hasHoverText('a', '/** What it is. */\nexport const a = 1;'), true);
  assert.equal(hasHoverText('a', '/**\n * What it is.\n */\nexport async function a(): void {}'), true);
  assert.equal(hasHoverText('a', '// What it is.\nexport const a = 1;'), false);
  assert.equal(hasHoverText('a', '/** What it is. */\nexport const ab = 1;'), false);

  const doors = ['src/index.ts', 'src/kvm/index.ts', 'src/testing/index.ts'];
  const exported = doors.flatMap((path) => exportsOf(path, read(path)));
  assert.ok(exported.length > 100, `${exported.length} names`);
  const bare = exported.filter(({ name, path }) => !hasHoverText(name, read(path)));
  assert.deepEqual(
    bare.map(({ name, path }) => `${path}: ${name}`),
    [],
  );
});

/** A folder of its own for `samples`, beside a copy of the linter's settings. */
function makeFolder(t: TestContext, samples: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-tidy-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'src'));
  copyFileSync(join(root, 'biome.json'), join(folder, 'biome.json'));
  for (const [name, text] of Object.entries(samples)) writeFileSync(join(folder, name), text);
  return folder;
}

/** The output of a program of node_modules about the folder `cwd`. */
function judge(cwd: string, program: string, args: readonly string[]): string {
  const argv = [join(root, 'node_modules', program), ...args];
  const { stdout, stderr } = spawnSync(process.execPath, argv, { cwd, encoding: 'utf8' });
  return stdout + stderr;
}

const BIOME = '@biomejs/biome/bin/biome';
const longFunction = (lines: number): string => `export function long(): void {\n${"  say('x');\n".repeat(lines)}}\n`;

test('the linter is strict', (t) => {
  const bad = `// A sample.
import { readFileSync } from 'fs';
export enum Colour { red }
export namespace Inner { export const a = 1; }
export class Holder { constructor(private readonly held: any) {} }
export default readFileSync;
${longFunction(61)}`;
  const folder = makeFolder(t, { 'src/badName.ts': bad, 'src/good-name.ts': '// A sample.\nexport const a = 1;\n' });
  const said = judge(folder, BIOME, ['lint', '--max-diagnostics=none']);
  const expected = [
    'complexity/noExcessiveLinesPerFunction',
    'style/noDefaultExport',
    'style/noEnum',
    'style/noNamespace',
    'style/noParameterProperties',
    'style/useFilenamingConvention',
    'style/useNodejsImportProtocol',
    'suspicious/noExplicitAny',
  ];
  assert.deepEqual(
    expected.filter((rule) => !said.includes(`lint/${rule}`)),
    [],
    said,
  );
  assert.doesNotMatch(said, /good-name/);
});

test('the compiler is strict', (t) => {
  const settings = { extends: join(root, 'tsconfig.json'), compilerOptions: { types: [] }, include: ['src'] };
  const folder = makeFolder(t, {
    'src/a.ts': 'export enum Colour { red }\nexport interface Shape { sides?: number }\n',
    'src/b.ts': `import { Shape } from './a.ts';
export const none: Shape = { sides: undefined };
export const first = (list: number[]): number => list[0];
`,
    'tsconfig.json': JSON.stringify(settings),
  });
  const said = judge(folder, 'typescript/bin/tsc', ['-p', '.']);
  // What Node cannot strip; a value import of a type; an unchecked index; an explicit undefined.
  for (const code of ['TS1294', 'TS1484', 'TS2322', 'TS2375']) assert.match(said, new RegExp(code), said);
});

const FUNCTION_LINES = 35;
/** A ratchet: it is only ever lowered. What is longer than 60 lines the linter refuses anyway. */
const LONG_FUNCTIONS_MAX = 5;

test(`at most ${LONG_FUNCTIONS_MAX} functions of src have more than ${FUNCTION_LINES} lines`, (t) => {
  const rule = { level: 'error', options: { maxLines: FUNCTION_LINES } };
  const settings = { linter: { rules: { complexity: { noExcessiveLinesPerFunction: rule } } } };
  const folder = makeFolder(t, {
    'biome.json': JSON.stringify(settings),
    'src/a.ts': longFunction(FUNCTION_LINES + 1),
    'src/b.ts': longFunction(FUNCTION_LINES),
  });
  const only = ['lint', '--only=complexity/noExcessiveLinesPerFunction', '--max-diagnostics=none'];
  const found = (cwd: string): string[] => {
    const said = judge(cwd, BIOME, [...only, `--config-path=${folder}`, 'src']);
    return [...said.matchAll(/^(src\/\S+) lint\//gm)].map(([, where = '']) => where);
  };
  assert.deepEqual(found(folder), ['src/a.ts:1:8']);
  const long = found(root).filter((where) => !where.includes('.test.ts'));
  assert.ok(long.length <= LONG_FUNCTIONS_MAX, `${long.length}: ${long.join(', ')}`);
});
