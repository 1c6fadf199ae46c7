// test/package: the package as a user gets it: npm pack, installed in an empty folder, used from there.
import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { patience } from '../../src/testing/patience.ts';
import { startBelfry } from '../cli/belfry-process.ts';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'belfry-pack-'));
const source = join(folder, 'source');
const user = join(folder, 'user');
const installed = join(user, 'node_modules/belfry');
const command = [join(user, 'node_modules/.bin/belfry')];
const { version, files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
// The command's first line asks for the `node` on the PATH.
const env = { PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
const TARBALL_BYTES_MAX = 2_000_000;

let tarball = '';
let packed: string[] = [];

function npm(cwd: string, ...args: string[]): void {
  const quietly = ['--no-audit', '--no-fund', '--foreground-scripts'];
  const { status, stdout, stderr } = spawnSync('npm', [...args, ...quietly], { cwd, encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
}

function run(program: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(program, args, {
    cwd: user,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: patience(60_000),
  });
}

before(() => {
  // Packed from a copy: the checkout stays as it is.
  const papers = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'README.md', 'LICENSE', 'scripts'];
  for (const name of [...papers, ...files]) {
    if (name !== 'dist' && existsSync(join(root, name)))
      cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  npm(source, 'pack', '--pack-destination', folder);
  tarball = join(folder, `belfry-${version}.tgz`);
  packed = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');

  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }));
  npm(user, 'install', tarball);
});

after(() => rmSync(folder, { recursive: true, force: true }));

test('the tarball holds compiled code with its source, the papers and the examples, and nothing else', (t) => {
  const rooms = 'bin|src|bench|guests|demo|doctor';
  const expected = new RegExp(
    `^package/(dist/(${rooms})/.*(\\.js|\\.d\\.ts)(\\.map)?|(${rooms})/.*\\.(ts|md|c|S)|docs/.*\\.md|examples/.*\\.ts|` +
      'contrib/.*\\.(json|service)|model/.*\\.(md|pml)|package\\.json|README\\.md|LICENSE|CHANGELOG\\.md)$',
  );
  assert.deepEqual(
    packed.filter((path) => !expected.test(path) || path.includes('.test.')),
    [],
  );
  for (const path of ['dist/bin/belfry.js', 'dist/src/index.js', 'dist/src/index.d.ts', 'LICENSE', 'README.md'])
    assert.ok(packed.includes(`package/${path}`), `${path} is missing`);
  const { size } = statSync(tarball);
  t.diagnostic(`npm pack: ${(size / 1000).toFixed(0)} kB, ${packed.length} files`);
  assert.ok(size < TARBALL_BYTES_MAX, `${size} bytes`);
});

test('packing leaves no dist behind that a checkout could take for its source', () => {
  assert.equal(existsSync(join(source, 'dist')), false);
});

test('regression: every link of its papers leads to a file of the package', () => {
  const papers = globSync('**/*.md', { cwd: installed, exclude: ['node_modules'] });
  assert.ok(papers.includes('README.md') && papers.includes('docs/use-from-npm.md'));
  const dead = papers.flatMap((paper) => {
    const links = readFileSync(join(installed, paper), 'utf8').matchAll(/\]\((?!https?:)([^)#\s]+)[^)]*\)/g);
    const targets = [...links].map(([, link = '']) => join(installed, dirname(paper), link));
    return targets.filter((target) => !existsSync(target)).map((target) => `${paper}: ${target}`);
  });
  assert.deepEqual(dead, []);
});

test('regression: go-to-definition and stack traces find the source: every map leads to a file of the package', () => {
  const compiled = globSync('dist/**/*.{js,d.ts}', { cwd: installed });
  assert.ok(compiled.includes('dist/src/index.d.ts'));
  const dead = compiled.flatMap((path) => {
    const map = join(installed, `${path}.map`);
    if (!existsSync(map)) return [`${path} has no map`];
    const { sources }: { sources: string[] } = JSON.parse(readFileSync(map, 'utf8'));
    return sources.filter((name) => !existsSync(join(dirname(map), name))).map((name) => `${path}: ${name}`);
  });
  assert.deepEqual(dead, []);
});

test('an installation has no development tools', () => {
  const names = readdirSync(join(user, 'node_modules'));
  assert.ok(names.includes('commander'));
  assert.deepEqual(
    names.filter((name) => ['typescript', 'node', '@biomejs', '@types', 'fast-check'].includes(name)),
    [],
  );
});

test('the installed command runs and prints its version', () => {
  const { status, stdout, stderr } = run(command[0] as string, '--version');
  assert.equal(stderr, '');
  assert.equal(stdout.trim(), version);
  assert.equal(status, 0);
});

test('every front door can be imported', () => {
  const program = `import { serve } from 'belfry';
import { Kvm } from 'belfry/kvm';
import * as testing from 'belfry/testing';
console.log(typeof serve, typeof Kvm.open, Object.keys(testing).length > 0);`;
  writeFileSync(join(user, 'program.js'), program);
  const { status, stdout, stderr } = run(process.execPath, '--disable-warning=ExperimentalWarning', 'program.js');
  assert.equal(stderr, '');
  assert.equal(stdout, 'function function true\n');
  assert.equal(status, 0);
});

/** Writes the files of docs/use-from-npm.md and README into the folder of the user; returns the names. */
function writeSnippets(): string[] {
  const papers = ['README.md', 'docs/use-from-npm.md'].map((name) => readFileSync(join(installed, name), 'utf8'));
  const blocks = papers.flatMap((text) => [...text.matchAll(/^```(ts|json)\n([\s\S]*?)^```$/gm)]);
  return blocks.map(([, language, text = '']) => {
    const name = language === 'json' ? 'tsconfig.json' : (/^\/\/ ([a-z-]+\.ts)/.exec(text)?.[1] ?? '');
    writeFileSync(join(user, name), text);
    return name;
  });
}

/** Copies the examples of the package into the folder of the user, their imports as they are in a project of one's own. */
function copyExamples(): string[] {
  const names = readdirSync(join(installed, 'examples'));
  for (const name of names) {
    const text = readFileSync(join(installed, 'examples', name), 'utf8');
    const imports = text.replace("'../src/index.ts'", "'belfry'").replace("'../src/kvm/index.ts'", "'belfry/kvm'");
    writeFileSync(join(user, name), imports);
  }
  return names;
}

test('regression: the code of README and docs, and the examples, satisfy a strict compiler and run', async () => {
  assert.deepEqual(new Set(writeSnippets()), new Set(['my-disk.ts', 'my-script.ts', 'tsconfig.json']));
  const examples = copyExamples();
  writeFileSync(join(user, 'wrong.ts'), WRONG);
  mkdirSync(join(user, 'node_modules/@types'), { recursive: true });
  for (const name of ['@types/node', 'undici-types'])
    symlinkSync(join(root, 'node_modules', name), join(user, 'node_modules', name));
  const stricter = ['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false'];
  const { status, stdout } = run(
    process.execPath,
    join(root, 'node_modules/typescript/bin/tsc'),
    '-p',
    '.',
    ...stricter,
  );
  assert.equal(stdout, '');
  assert.equal(status, 0);

  const surroundings = { cwd: user, env: { ...env, DISK: 'mem:1M' } };
  for (const disk of ['my-disk.ts', 'ram-disk.ts', 'filter.ts'].map((name) => `./${name}`)) {
    await using serving = startBelfry(['serve', 'blk', disk, '--socket', 'sock'], { ...surroundings, command });
    await serving.says(/^Serving \S+ \(\d+M, /);
  }
  const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
  for (const script of ['my-script.ts', 'serve-a-disk.ts']) {
    await using running = startBelfry([script, 'sock'], { ...surroundings, command: node });
    await running.says(/^listening on sock\n/);
    running.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    assert.deepEqual([code, stderr], [0, '']);
  }
  assert.ok(examples.length >= 5);
});

const WRONG = `import { type BlockStore, serve } from 'belfry';
export const start: typeof serve = serve;
// @ts-expect-error a store has a size
export const wrong: BlockStore = { read() {} };
`;

test('regression: a disk in another folder imports the installed copy', async () => {
  const disk = join(folder, 'elsewhere.ts');
  writeFileSync(disk, "import { forward, memory } from 'belfry';\nexport default forward(memory(2 ** 21));\n");
  await using serving = startBelfry(['serve', 'blk', disk, '--socket', join(folder, 'sock')], { command, env });
  await serving.says(/^Serving \S+ \(2M, /);
});

function findOldNode(): string | undefined {
  const candidates = (process.env.PATH ?? '').split(delimiter).map((path) => join(path, 'node'));
  return candidates.find((node) => {
    const { status, stdout } = run(node, '-p', 'parseInt(process.versions.node)');
    return status === 0 && Number(stdout) < 26;
  });
}

test('regression: an older Node gets one line that says how to get a newer one, and exit code 2', (t) => {
  const old = findOldNode();
  if (old === undefined) return t.skip('no Node older than 26 here');
  const PATH = `${dirname(old)}${delimiter}${process.env.PATH}`;
  const { status, stderr } = spawnSync(command[0] as string, ['--version'], { env: { PATH }, encoding: 'utf8' });
  assert.match(
    stderr,
    /^belfry: needs Node >= 26 [^\n]*"npm i -D node@26"[^\n]*"npx -p node@26 -p belfry belfry …"\n$/,
  );
  assert.equal(status, 2);
});
