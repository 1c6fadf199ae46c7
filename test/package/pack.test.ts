// What somebody gets who installs Belfry: npm pack, installed in an empty folder, used from there.
import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'belfry-pack-'));
const source = join(folder, 'source');
const user = join(folder, 'user');
const { version, files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
// The command's first line asks for the `node` on the PATH.
const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };

let packed: string[] = [];

function npm(cwd: string, ...args: string[]): void {
  const quietly = ['--no-audit', '--no-fund', '--foreground-scripts'];
  const { status, stdout, stderr } = spawnSync('npm', [...args, ...quietly], { cwd, encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
}

function run(program: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(program, args, { cwd: user, env, encoding: 'utf8', timeout: 60_000 });
}

before(() => {
  // Packed from a copy: the checkout stays as it is.
  for (const name of [
    'bin',
    'src',
    'bench',
    'guests',
    'demo',
    'doctor',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'README.md',
    'LICENSE',
    ...files,
  ]) {
    if (name !== 'dist' && existsSync(join(root, name)))
      cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  npm(source, 'pack', '--pack-destination', folder);
  const tarball = join(folder, `belfry-${version}.tgz`);
  packed = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');

  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }));
  npm(user, 'install', tarball);
});

after(() => rmSync(folder, { recursive: true, force: true }));

test('the tarball holds compiled code, its declarations and the papers, and nothing else', () => {
  const expected =
    /^package\/(dist\/(bin|src|bench|guests|demo|doctor)\/.*(?<!\.test)(\.js|\.d\.ts)|package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;
  assert.deepEqual(
    packed.filter((path) => !expected.test(path)),
    [],
  );
  assert.deepEqual(
    packed.filter((path) => path.includes('.test.')),
    [],
  );
  for (const path of ['dist/bin/belfry.js', 'dist/src/index.js', 'dist/src/index.d.ts', 'LICENSE', 'README.md']) {
    assert.ok(packed.includes(`package/${path}`), `${path} is missing`);
  }
});

test('whoever installs it gets no development tools', () => {
  const installed = readdirSync(join(user, 'node_modules'));
  assert.ok(installed.includes('commander'));
  assert.deepEqual(
    installed.filter((name) => ['typescript', 'node', '@biomejs', '@types', 'fast-check'].includes(name)),
    [],
  );
});

test('the installed command runs and says its version', () => {
  const { status, stdout, stderr } = run(join(user, 'node_modules/.bin/belfry'), '--version');
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

test('its declarations satisfy a strict compiler', () => {
  const program = `import { type BlockStore, serve } from 'belfry';
export const start: typeof serve = serve;
export const empty: BlockStore = { sizeBytes: 0, read() {} };
// @ts-expect-error a store has a size
export const wrong: BlockStore = { read() {} };
`;
  writeFileSync(join(user, 'program.ts'), program);
  const settings = {
    module: 'nodenext',
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    strict: true,
    noEmit: true,
  };
  const typeRoots = [join(root, 'node_modules/@types')];
  const compilerOptions = { ...settings, exactOptionalPropertyTypes: true, types: ['node'], typeRoots };
  writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
  const { status, stdout } = run(process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '-p', '.');
  assert.equal(stdout, '');
  assert.equal(status, 0);
});

function findOldNode(): string | undefined {
  const candidates = (process.env.PATH ?? '').split(delimiter).map((path) => join(path, 'node'));
  return candidates.find((node) => {
    const { status, stdout } = run(node, '-p', 'parseInt(process.versions.node)');
    return status === 0 && Number(stdout) < 26;
  });
}

test('an older Node gets one line and exit code 2', (t) => {
  const old = findOldNode();
  if (old === undefined) return t.skip('no Node older than 26 here');
  const { status, stderr } = run(old, join(user, 'node_modules/belfry/dist/bin/belfry.js'), '--version');
  assert.match(stderr, /^belfry: needs Node >= 26 [^\n]*\n$/);
  assert.equal(status, 2);
});
