// test/cli: the commands that `serve` prints: pasted into a shell unchanged, each boots a Linux that finds the disk.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { guestCacheFolder, shellFiles, shellFilesIn, shellFolder } from '../../guests/shell-files.ts';
import { startLines } from '../../src/cli/start-lines.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';
import { isHere, noteExercised } from './guests-here.ts';

const CHECKOUT = join(import.meta.dirname, '../..');

/** As the launcher sets it, so that advice names the launcher. */
const asLauncher = { BELFRY_CALLED_AS: join(CHECKOUT, 'belfry') };

/** The output of the line, run by a shell; `typed` is typed once there is a prompt. */
async function pasted(t: TestContext, line: string, typed: string): Promise<string> {
  const child = spawn('sh', ['-c', line], { stdio: 'pipe', detached: true });
  const kill = (): void => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGKILL');
  };
  t.after(kill);
  let said = '';
  let hasTyped = false;
  const take = (text: string): void => {
    said += text;
    if (hasTyped || !/ends it\./.test(said)) return;
    hasTyped = true;
    child.stdin.write(typed);
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', take);
  await new Promise((resolve) => child.once('close', resolve));
  return said.replaceAll('\r', '');
}

for (const [vmm, peer] of [
  ['QEMU', 'qemu'],
  ['User-Mode Linux', 'user-mode-linux'],
] as const) {
  test(`regression: the line for ${vmm}, pasted into a shell, boots a Linux that finds the disk`, async (t) => {
    if (!(await isHere(t, peer))) return;
    const guest = peer === 'qemu' ? 'qemu' : 'uml';
    if (shellFiles(peer) === undefined) await belfry(['shell', '--prepare', '--guest', guest]);
    const cwd = testFolder(t);
    await using served = startBelfry(['serve', 'blk', 'mem:24M', '--socket', 'disk.sock'], { cwd });
    const [, line = ''] = await served.says(new RegExp(`^ +${vmm} +(.+)$`, 'm'));
    const said = await pasted(t, line, 'echo sectors $(cat /sys/block/vda/size); exit\n');
    assert.match(said, /\/dev\/vda is a disk \(24 MiB\)\./);
    assert.match(said, /\nsectors 49152\n/);
    noteExercised(peer);
  });
}

test('the line for QEMU on random numbers, pasted into a shell, boots a Linux that draws from them', async (t) => {
  if (!(await isHere(t, 'qemu'))) return;
  if (shellFiles('qemu') === undefined) await belfry(['shell', '--prepare', '--guest', 'qemu']);
  const cwd = testFolder(t);
  await using served = startBelfry(['serve', 'rng', '--socket', 'rng.sock'], { cwd });
  const [, line = ''] = await served.says(/\n +QEMU +(.+)\n/);
  const said = await pasted(t, line, 'echo bytes $(head -c 5000 /dev/hwrng | wc -c); exit\n');
  assert.match(said, /\/dev\/hwrng is virtio_rng\.0\./);
  assert.match(said, /\nbytes 5000\n/);
  served.kill('SIGTERM');
  assert.match((await served.ended).stdout, /\nclosed: [1-9][0-9]* requests?, /);
  noteExercised('qemu');
});

test('the line for User-Mode Linux on a console, pasted into a shell, gives that console a shell', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  if (shellFiles('user-mode-linux') === undefined) await belfry(['shell', '--prepare', '--guest', 'uml']);
  const cwd = testFolder(t);
  await using served = startBelfry(['serve', 'console', '--socket', 'sock', '--listen', 'con'], { cwd });
  const [, line = ''] = await served.says(/\n +User-Mode Linux +(.+)\n/);
  const terminal = connect(join(cwd, 'con'));
  let shown = '';
  terminal.setEncoding('utf8').on('data', (text) => {
    const hadPrompt = shown.includes('/ # ');
    shown += text;
    if (!hadPrompt && shown.includes('/ # ')) terminal.write('echo $(tty) $((6 * 7)); poweroff -f\n');
  });
  await pasted(t, line, '');
  assert.match(shown, /\/dev\/hvc0 is a console/);
  assert.match(shown.replaceAll('\r', ''), /\n\/dev\/hvc0 42\n/);
  terminal.destroy();
  noteExercised('user-mode-linux');
});

test('a device that no VMM here has a name for gets no line', () => {
  assert.deepEqual(startLines('/tmp/s', 42), []);
});

test('regression: the first line is belfry shell, and it runs unchanged', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const cwd = testFolder(t);
  const served = startBelfry(['serve', 'blk', 'mem:24M', '--socket', 'a disk.sock'], {
    cwd,
    env: asLauncher,
  });
  await using _served = served;
  const [, line = ''] = await served.says(/\n +shell +(.+)\n/);
  const said = await pasted(t, `echo 'cat /sys/block/vda/size; exit 3' | ${line}; echo code $?`, '');
  assert.equal(said, '49152\ncode 3\n');
});

test('where a kernel is not there yet, its line is the command that gets it', (t) => {
  const cache = testFolder(t);
  const before = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = cache;
  t.after(() => {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
  });
  if (process.arch !== 'x64') return t.skip('guests are for x86-64');
  for (const { vmm, line } of startLines('/tmp/s').slice(1))
    assert.match(line, /^(belfry shell --prepare {2}# |apt-get install qemu)/, vmm);
  const folder = shellFolder('qemu', guestCacheFolder());
  assert.ok(folder.startsWith(cache));
  const files = shellFilesIn(folder);
  mkdirSync(dirname(files.kernel), { recursive: true });
  const kernel = join(cache, 'vmlinuz');
  writeFileSync(kernel, '');
  symlinkSync(kernel, files.kernel);
  writeFileSync(files.initramfs, '');
  assert.deepEqual(shellFiles('qemu'), files);
  rmSync(kernel);
  assert.equal(shellFiles('qemu'), undefined, 'a kernel that was removed');
});

test('files that were made for a kernel that has been replaced since do not count', (t) => {
  const cache = testFolder(t);
  const files = shellFilesIn(shellFolder('user-mode-linux', cache));
  mkdirSync(dirname(files.kernel), { recursive: true });
  const kernel = join(cache, 'linux.uml');
  writeFileSync(kernel, 'old');
  symlinkSync(kernel, files.kernel);
  writeFileSync(files.initramfs, '');
  assert.deepEqual(shellFiles('user-mode-linux', cache), files);
  // As a package does it: the new file has an old date. The clock of files ticks every few milliseconds.
  do {
    rmSync(kernel);
    writeFileSync(kernel, 'new');
    utimesSync(kernel, 0, 0);
  } while (statSync(kernel).ctimeMs <= statSync(files.initramfs).ctimeMs);
  assert.equal(shellFiles('user-mode-linux', cache), undefined);
});

test('a path is quoted where a shell or a VMM would misread it', () => {
  if (process.arch !== 'x64') return;
  const lines = startLines("/tmp/it's, a disk.sock");
  assert.deepEqual(
    lines.map(({ vmm }) => vmm),
    ['shell', 'QEMU', 'cloud-hypervisor'],
  );
  assert.match(lines[0]?.line as string, /shell --socket '\/tmp\/it'\\''s, a disk\.sock'$/);
});
