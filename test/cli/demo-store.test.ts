// test/cli: `demo STORE`: the same checks on the user's disk, which is not written to without confirmation.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { DemoResult } from '../../demo/run-demo.ts';
import { belfry, processesAbout, startBelfry, testFolder } from './belfry-process.ts';
import { isHere, noteExercised } from './guests-here.ts';
import { belfryLine, onTerminal, terminalProblem } from './on-terminal.ts';

const MIB = 1 << 20;

interface Place {
  readonly cwd: string;
  readonly env: { readonly TMPDIR: string };
  /** SHA-256 of disk.img. */
  sum(): string;
  assertClean(): void;
}

/** A folder with disk.img, full of random bytes, and a temporary folder to see what is left in it. */
function placeWith(t: TestContext, sizeBytes: number): Place {
  const cwd = testFolder(t);
  const TMPDIR = testFolder(t);
  const image = join(cwd, 'disk.img');
  writeFileSync(image, randomBytes(sizeBytes));
  return {
    cwd,
    env: { TMPDIR },
    sum: () => createHash('sha256').update(readFileSync(image)).digest('hex'),
    assertClean() {
      assert.deepEqual(readdirSync(TMPDIR), []);
      assert.deepEqual(processesAbout(TMPDIR), []);
    },
  };
}

test('regression: demo STORE changes nothing without --yes, and prints what it would do', async (t) => {
  const { cwd, env, sum, assertClean } = placeWith(t, MIB);
  const before = sum();
  const { code, stdout, stderr } = await belfry(['demo', 'disk.img', '--guest', 'built-in'], { cwd, env });
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(
    stderr,
    /^belfry: demo writes to disk\.img, and everything on it is lost: add --yes .*--read-only [^\n]*\n$/,
  );
  assert.equal(sum(), before);
  assertClean();
});

test('demo STORE --yes makes a file system on it, and --read-only then reads it without changing a byte', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd, env, sum, assertClean } = placeWith(t, 48 * MIB);
  const written = await belfry(['demo', 'disk.img', '--yes', '--json'], { cwd, env });
  assert.deepEqual([written.code, written.stderr], [0, '']);
  const { disk, checks, device, guest } = JSON.parse(written.stdout) as DemoResult;
  assert.deepEqual(disk, { path: 'disk.img', sizeBytes: 48 * MIB, readOnly: false });
  assert.deepEqual([checks, guest.name], ['format', 'uml']);
  assert.ok(device.bytesWritten > MIB && device.requests === device.kicks + device.kicksSaved);
  const before = sum();
  const read = await belfry(['demo', 'disk.img', '--read-only'], { cwd, env });
  assert.deepEqual([read.code, read.stderr], [0, ''], read.stdout);
  for (const line of [/✓ mounted the ext4/, /✓ compared the sums: both times the same/, /✓ a write was refused/])
    assert.match(read.stdout, line);
  assert.match(read.stdout, /\nNot checked: writing, .*: the disk is read-only\.\n/);
  assert.equal(sum(), before);
  noteExercised('user-mode-linux');
  assertClean();
});

test('a disk without a file system is read as well, and the missing check is listed', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd, env, sum } = placeWith(t, 5 * MIB + 512);
  const before = sum();
  const words = ['demo', 'disk.img', '--read-only', '--data', '4'];
  const { code, stdout } = await belfry(words, { cwd, env });
  assert.equal(code, 0, stdout);
  assert.match(stdout, /Not checked: a file system: there is no ext4 on the disk\.\n/);
  assert.match(stdout, /Not checked: what is after the first 4 MiB: /);
  assert.equal(sum(), before);
});

for (const [name, sizeBytes] of [
  ['of one sector', 512],
  ['of an odd size', 3 * MIB + 512],
] as const) {
  test(`a tiny disk ${name} is written whole, and what that leaves out is listed`, async (t) => {
    if (!(await isHere(t, 'user-mode-linux'))) return;
    const { cwd, env, sum, assertClean } = placeWith(t, sizeBytes);
    const before = sum();
    const { code, stdout } = await belfry(['demo', 'disk.img', '--yes'], { cwd, env });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /✓ read past the page cache: every byte came back/);
    assert.match(stdout, /Not checked: a partition and a file system: the disk is smaller than 24 MiB\.\n/);
    assert.notEqual(sum(), before);
    assertClean();
  });
}

const MODULE = `
const bytes = new Uint8Array(${24 * MIB});
export default {
  sizeBytes: bytes.length,
  read: (offset, into) => void into.set(bytes.subarray(offset, offset + into.length)),
  write: (offset, from) => void bytes.set(from, offset),
};
`;

test('a disk of memory and a module need no --yes', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd, env } = placeWith(t, 512);
  writeFileSync(join(cwd, 'disk.ts'), MODULE);
  const memory = await belfry(['demo', 'mem:64M', '--data', '4'], { cwd, env });
  assert.equal(memory.code, 0, memory.stdout);
  assert.doesNotMatch(memory.stdout, /Not checked/);
  const module = await belfry(['demo', './disk.ts'], { cwd, env });
  assert.equal(module.code, 0, module.stdout + module.stderr);
  assert.match(module.stdout, /✓ disk: \.\/disk\.ts, 24M\n/);
  // It has no discard.
  assert.match(module.stdout, /Not checked: discarding: the disk does not support it\.\n/);
});

test('regression: a disk that loses what is written to it fails the demo', async (t) => {
  const { cwd, env, assertClean } = placeWith(t, 512);
  writeFileSync(join(cwd, 'bad.ts'), MODULE.replace('bytes.set(from, offset)', 'offset'));
  const { code, stdout } = await belfry(['demo', './bad.ts', '--guest', 'built-in'], { cwd, env });
  assert.equal(code, 1);
  assert.match(stdout, /✗ writing, reading back and comparing/);
  assert.match(stdout, /The demo failed: \d+ requests went wrong; the first: /);
  assertClean();
});

test('the built-in front end checks tiny disks and read-only ones', async (t) => {
  const { cwd, env, sum } = placeWith(t, 4096);
  const before = sum();
  const read = await belfry(['demo', 'disk.img', '--read-only', '--guest', 'built-in', '--json'], { cwd, env });
  assert.equal(read.code, 0, read.stderr);
  const { steps } = JSON.parse(read.stdout) as DemoResult;
  assert.deepEqual(
    steps.map(({ name, ok }) => [name, ok]),
    [['load-read-sector', true]],
  );
  assert.equal(sum(), before);
  const written = await belfry(['demo', 'disk.img', '--yes', '--guest', 'built-in'], { cwd, env });
  assert.equal(written.code, 0, written.stdout);
  assert.match(written.stdout, /Not checked: a file system, and the disk in Linux: there is no Linux here\./);
});

for (const [answer, changes] of [
  ['no', false],
  ['yes', true],
] as const) {
  test(`on a terminal demo STORE asks, and ${answer} is ${answer}`, async (t) => {
    if (terminalProblem) return t.skip(terminalProblem);
    const { cwd, env, sum, assertClean } = placeWith(t, 1 * MIB);
    const before = sum();
    const typed = [[/Type yes to go on: $/, `${answer}\n`]] as const;
    const command = `${belfryLine('demo disk.img --guest built-in')}; echo code $?`;
    const shown = await onTerminal(command, { cwd, env, typed, columns: 70 });
    assert.match(shown, /^The demo writes to disk\.img \(1\.0 MiB\): everything on it is lost\.\n/);
    assert.match(shown, changes ? /code 0\n$/ : /belfry: nothing was written: .*--read-only [\s\S]*code 2\n$/);
    assert.equal(sum() !== before, changes);
    assertClean();
  });
}

test('regression: demo --json shows its progress on a terminal, besides the result', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  const cwd = testFolder(t);
  const line = belfryLine('demo --guest built-in --size 64M --json >result.json');
  const shown = await onTerminal(line, { cwd });
  assert.match(shown, /✓ wrote, read back, compared/);
  assert.equal((JSON.parse(readFileSync(join(cwd, 'result.json'), 'utf8')) as DemoResult).ok, true);
});

test('an interrupt leaves no process, socket or file of demo STORE but the disk', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd, env, assertClean } = placeWith(t, 48 * MIB);
  await using demo = startBelfry(['demo', 'disk.img', '--yes', '--guest', 'uml'], { cwd, env });
  await demo.says(/✓ Linux is up/);
  demo.kill('SIGINT');
  const { code, stderr } = await demo.ended;
  assert.deepEqual([code, stderr], [130, 'belfry: interrupted; the guest is stopped\n']);
  assert.ok(existsSync(join(cwd, 'disk.img')));
  assertClean();
});

for (const [name, words, code, what] of [
  ['a disk that is not there', ['none.img', '--yes'], 1, /none\.img does not exist/],
  ['a size that is none', ['mem:big'], 2, /"big" is not a size/],
  ['a module that fails', ['./none.ts'], 1, /none\.ts: no such file/],
  ['data that a disk cannot hold', ['mem:64M', '--data', '16'], 2, /mem:64M: --data 16 needs a disk of at least 80M/],
  ['a size for a disk that has one', ['mem:64M', '--size', '64M'], 2, /--size and --keep are for/],
  ['--read-only of nothing', ['--read-only'], 2, /--read-only are for a STORE/],
] as const) {
  test(`demo refuses ${name} in one line`, async (t) => {
    const ended = await belfry(['demo', ...words], { cwd: testFolder(t) });
    assert.match(ended.stderr, what);
    assert.match(ended.stderr, /^belfry: [^\n]+\n$/);
    assert.deepEqual([ended.code, ended.stdout], [code, '']);
  });
}
