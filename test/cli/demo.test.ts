// test/cli: `demo`: its output, its exit code, and that nothing of it is left, however it ends.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { DemoResult } from '../../demo/run-demo.ts';
import { belfry, processesAbout, startBelfry, testFolder } from './belfry-process.ts';
import { GUESTS, isHere, noteExercised } from './guests-here.ts';

const FOLDER = /(\/\S*\/belfry-demo-\w+)\/disk\.sock/;

/** An environment whose temporary folder is the test's own, to see what is left in it. */
function ownTmp(t: TestContext): { readonly env: { readonly TMPDIR: string }; readonly assertClean: () => void } {
  const folder = testFolder(t);
  return { env: { TMPDIR: folder }, assertClean: () => assert.deepEqual(readdirSync(folder), []) };
}

function assertGone(stdout: string): void {
  const folder = FOLDER.exec(stdout)?.[1];
  assert.ok(folder !== undefined, `no folder is named in:\n${stdout}`);
  assert.equal(existsSync(folder), false, `${folder} was left behind`);
  assert.deepEqual(processesAbout(folder), []);
}

test('demo --guest built-in moves data, compares it, and prints what the disk did', async (t) => {
  const { env, assertClean } = ownTmp(t);
  const { code, stdout, stderr } = await belfry(['demo', '--guest', 'built-in', '--size', '64M'], { env });
  assert.deepEqual([code, stderr], [0, ''], stdout);
  for (const line of [/✓ served over vhost-user/, /✓ wrote, read back, compared/, /kicks: .* saved, \d+ %/])
    assert.match(stdout, line);
  for (const next of [/belfry shell DISK\n/, /belfry serve blk DISK --socket \S+\n/, /belfry bench blk\n$/])
    assert.match(stdout, next);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no colours in a pipe is what is tested.
  assert.doesNotMatch(stdout, /\x1b/);
  assertGone(stdout);
  assertClean();
});

for (const [name, peer] of GUESTS) {
  test(`demo --guest ${name} boots a Linux that reads back every byte`, async (t) => {
    if (!(await isHere(t, peer))) return;
    const { env, assertClean } = ownTmp(t);
    const { code, stdout, stderr } = await belfry(['demo', '--guest', name, '--data', '8'], { env });
    assert.deepEqual([code, stderr], [0, ''], stdout);
    for (const line of [/✓ Linux is up/, /✓ made an ext4/, /✓ compared the sums/, /✓ checked the file system: clean/])
      assert.match(stdout, line);
    assert.match(stdout, /Linux \S+ read back what it wrote, byte for byte/);
    noteExercised(peer);
    assertGone(stdout);
    assertClean();
  });
}

test('demo --json prints one object whose figures agree with each other', async () => {
  const { code, stdout, stderr } = await belfry(['demo', '--guest', 'built-in', '--size', '64M', '--json']);
  assert.deepEqual([code, stderr], [0, '']);
  const { ok, guest, disk, steps, device } = JSON.parse(stdout) as DemoResult;
  assert.deepEqual([ok, guest.name, disk.sizeBytes, disk.own?.kept], [true, 'built-in', 64 << 20, false]);
  assert.equal(existsSync(dirname(disk.path)), false);
  assert.ok(steps.length > 0 && steps.every((step) => step.ok && step.sizeBytes > 0));
  assert.ok(device.requests > 0 && device.bytesRead > 0 && device.bytesWritten > 0);
  assert.ok(device.p50Us > 0 && device.p50Us <= device.p99Us);
  assert.equal(device.kicks + device.kicksSaved, device.requests);
  assert.equal(device.calls + device.callsSaved, device.requests);
});

test('demo --keep leaves the disk at the path that it prints', async () => {
  const { code, stdout } = await belfry(['demo', '--guest', 'built-in', '--size', '32M', '--keep']);
  assert.equal(code, 0, stdout);
  const path = /The disk is kept: (\S+)/.exec(stdout)?.[1] as string;
  assert.equal(statSync(path).size, 32 << 20);
  assert.deepEqual(readdirSync(dirname(path)), ['disk.img'], 'the socket was left behind');
  rmSync(dirname(path), { recursive: true });
});

const moments: readonly [string, RegExp][] = [
  ['before the disk is there', /✓ guest/],
  ['while Linux boots', /✓ served/],
  ['while Linux writes', /✓ mounted/],
];

for (const [when, sign] of moments) {
  test(`an interrupt ${when} leaves no process, socket or file of the demo`, async (t) => {
    if (!(await isHere(t, 'user-mode-linux'))) return;
    const { env, assertClean } = ownTmp(t);
    await using demo = startBelfry(['demo', '--guest', 'uml'], { env });
    await demo.says(sign);
    demo.kill('SIGINT');
    const { code, stdout, stderr } = await demo.ended;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /^belfry: interrupted[^\n]*\n$/);
    if (FOLDER.test(stdout)) assertGone(stdout);
    assertClean();
  });
}

test('an interrupt ends the built-in demo as well', async (t) => {
  const { env, assertClean } = ownTmp(t);
  await using demo = startBelfry(['demo', '--guest', 'built-in'], { env });
  await demo.says(/✓ wrote/);
  demo.kill('SIGTERM');
  const { code, stdout } = await demo.ended;
  // The serving thread may handle the signal first, and does not report which one it was.
  assert.ok(code === 143 || code === 130, `exit code ${code}`);
  assertGone(stdout);
  assertClean();
});

test('regression: demo cleans up when its output has no reader any more', async (t) => {
  const { env, assertClean } = ownTmp(t);
  await using demo = startBelfry(['demo', '--guest', 'built-in'], { env });
  const [, folder = ''] = await demo.says(FOLDER);
  demo.stopReading();
  assert.equal((await demo.ended).code, 141);
  assert.equal(existsSync(folder), false);
  assertClean();
});

/** A folder with programs of these names that only print; put before the others on PATH. */
function fakePrograms(t: TestContext, scripts: Readonly<Record<string, string>>): string {
  const folder = join(testFolder(t), 'bin');
  mkdirSync(folder);
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return `${folder}:${process.env.PATH}`;
}

const FAILING_GUEST = `
echo 'BELFRY fact disk= kernel=9.9'
echo 'BELFRY step disk=vda name=appears result=ok us=1 bytes=0'
echo 'BELFRY step disk=vda name=compare result=failed us=1 bytes=0'
echo 'buffered: FAILED'
echo 'BELFRY done failed'`;

test('a guest whose checksums do not match fails the demo, with its problem and the end of its console', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { env, assertClean } = ownTmp(t);
  const PATH = fakePrograms(t, { 'linux.uml': FAILING_GUEST });
  const { code, stdout } = await belfry(['demo', '--guest', 'uml'], { env: { ...env, PATH } });
  assert.equal(code, 1);
  assert.match(stdout, /✗ comparing the sums/);
  assert.match(stdout, /The end of the guest's console:\n(.*\n)* {2}buffered: FAILED\n/);
  assert.match(stdout, /The demo failed: .*compare.* on vda failed: buffered: FAILED\n$/);
  assertGone(stdout);
  assertClean();
});

test('a User-Mode Linux that cannot run here is passed over, and the demo says so', async (t) => {
  if (!(await isHere(t, 'user-mode-linux')) || !(await isHere(t, 'qemu'))) return;
  const { env, assertClean } = ownTmp(t);
  const scripts = {
    'linux.uml': "echo 'ptrace: Operation not permitted'; exit 1",
    'qemu-system-x86_64': FAILING_GUEST,
  };
  const { code, stdout } = await belfry(['demo'], { env: { ...env, PATH: fakePrograms(t, scripts) } });
  assert.match(stdout, /· User-Mode Linux does not run here: /);
  assert.match(stdout, /✓ guest: QEMU/);
  assert.equal(code, 1);
  assertClean();
});

test('demo refuses data that its disk cannot hold, and names both flags', async () => {
  const { code, stderr } = await belfry(['demo', '--data', '128']);
  assert.equal(code, 2);
  assert.match(stderr, /^belfry: --size 512M: --data 128 needs a disk of at least 640M\n$/);
});

test('demo refuses --data for the built-in front end', async () => {
  const { code, stderr } = await belfry(['demo', '--guest', 'built-in', '--data', '8']);
  assert.equal(code, 2);
  assert.match(stderr, /^belfry: --data: [^\n]*\n$/);
});
