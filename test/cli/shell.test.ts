// test/cli: `shell`: commands and keys reach a real Linux that has the disks, and nothing is left of it at its end.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { findExecutable } from '../../guests/guest-programs.ts';
import { eventually } from '../../src/testing/patience.ts';
import { belfry, processesAbout, startBelfry, testFolder } from './belfry-process.ts';
import { GUESTS, isHere, noteExercised } from './guests-here.ts';
import { belfryLine, keepingTerminal, terminalProblem } from './on-terminal.ts';

/** An environment whose temporary folder is the test's own, to see what is left in it. */
function ownTmp(t: TestContext): { readonly env: { readonly TMPDIR: string }; readonly assertClean: () => void } {
  const folder = testFolder(t);
  const assertClean = (): void => {
    assert.deepEqual(readdirSync(folder), []);
    assert.deepEqual(processesAbout(folder), []);
  };
  return { env: { TMPDIR: folder }, assertClean };
}

/** A folder with an image of random bytes. */
function withImage(t: TestContext, sizeBytes: number): { readonly cwd: string; readonly sum: string } {
  const cwd = testFolder(t);
  const bytes = randomBytes(sizeBytes);
  writeFileSync(join(cwd, 'disk.img'), bytes);
  return { cwd, sum: createHash('sha256').update(bytes).digest('hex') };
}

for (const [guest, peer] of GUESTS) {
  test(`regression: shell runs commands from standard input in ${guest}: output, errors and exit code are theirs`, async (t) => {
    if (!(await isHere(t, peer))) return;
    const { env, assertClean } = ownTmp(t);
    const { cwd, sum } = withImage(t, 1 << 20);
    const input = `
      dd if=/dev/vda bs=64k 2>/dev/null | sha256sum
      printf 'a\\r\\n\\001\\003\\n'
      [ -t 1 ] && echo terminal
      echo oh >&2
      (exit 7)`;
    const words = ['shell', 'disk.img', '--guest', guest];
    const { code, stdout, stderr } = await belfry(words, { cwd, env, input });
    assert.deepEqual([stdout, code], [`${sum}  -\na\r\n\x01\x03\n`, 7], stderr);
    assert.match(stderr, /(^|\n)oh\n$/);
    noteExercised(peer);
    assertClean();
  });

  test(`shell is a prompt on a terminal in ${guest}: Ctrl-C goes to the guest, and the terminal is restored`, async (t) => {
    if (terminalProblem) return t.skip(terminalProblem);
    if (!(await isHere(t, peer))) return;
    const { env, assertClean } = ownTmp(t);
    const shown = await keepingTerminal(belfryLine(`shell mem:8M --guest ${guest}`), {
      env,
      typed: [
        [/ends it\.\n.*# /s, "sh -c 'stty size; exec sleep 1000'\n"],
        [/40 100\n/, '\x03'],
        [/# /, 'echo interrupted $?; ls /dev/vd*\n'],
        [/vda\s/, '\x01?'],
        [/Ctrl-A h {2}shows this/, 'exit 5\n'],
      ],
    });
    assert.match(shown, /\/dev\/vda is mem:8M \(8 MiB\)\.\nLinux \S+ with busybox, .*; exit ends it\.\n/);
    assert.match(shown, /^icanon\n[\s\S]*interrupted 130\n[\s\S]*code 5\nicanon\n$/);
    noteExercised(peer);
    assertClean();
  });
}

test('the guest has fio where the commands call it', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  if ((await findExecutable('fio')) === undefined) return t.skip('fio is not installed');
  const fio = 'fio --name=a --filename=/dev/vda --rw=randrw --verify=crc32c --size=4M --bs=4k --output-format=terse';
  const { code, stdout, stderr } = await belfry(['shell', 'mem:8M', '-c', `${fio} | cut -d';' -f1-5`]);
  // Version of the format, of fio, name, group, error.
  assert.match(stdout, /^3;fio-\S+;a;0;0\n$/, stderr);
  assert.equal(code, 0);
});

test('Ctrl-A x ends the guest at once, and poweroff in order', async (t) => {
  if (terminalProblem) return t.skip(terminalProblem);
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { env, assertClean } = ownTmp(t);
  for (const keys of ['\x01x', 'poweroff -f\n']) {
    const options = { env, typed: [[/ends it\.\n.*# /s, keys]] as const };
    const shown = await keepingTerminal(belfryLine('shell mem:8M'), options);
    assert.match(shown, /^icanon\n[\s\S]*code 0\nicanon\n$/, shown);
  }
  assertClean();
});

test('shell uses a back end that runs already, and a second disk of its own', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd, sum } = withImage(t, 1 << 20);
  await using served = startBelfry(['serve', 'blk', 'disk.img', '--socket', 'disk.sock'], { cwd });
  await served.says(/Serving/);
  const commands = 'cat /sys/block/vda/size /sys/block/vdb/size; sha256sum </dev/vdb';
  const words = ['shell', 'mem:8M', '--socket', 'disk.sock', '-c', commands];
  const { code, stdout, stderr } = await belfry(words, { cwd });
  assert.deepEqual([code, stdout], [0, `16384\n2048\n${sum}  -\n`], stderr);
  served.kill('SIGTERM');
  assert.equal((await served.ended).code, 0);
});

test('what is written in a shell is on the disk afterwards, unmounted or not', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const { cwd } = withImage(t, 16 << 20);
  const write = 'mkfs.ext4 -q -F /dev/vda && mount /dev/vda /mnt && echo kept >/mnt/file';
  assert.equal((await belfry(['shell', 'disk.img', '-c', write], { cwd })).code, 0);
  const read = 'mount -o ro /dev/vda /mnt && cat /mnt/file; touch /mnt/new';
  const { code, stdout, stderr } = await belfry(['shell', 'disk.img', '--read-only', '-c', read], { cwd });
  assert.deepEqual([code, stdout], [1, 'kept\n'], stderr);
  assert.match(stderr, /Read-only file system/);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`${signal} ends the guest and the back end with the shell`, async (t) => {
    if (!(await isHere(t, 'user-mode-linux'))) return;
    const { env, assertClean } = ownTmp(t);
    await using shell = startBelfry(['shell', 'mem:8M', '-c', 'echo up; sleep 1000'], { env });
    await shell.says(/up/);
    shell.kill(signal);
    const { code, stderr } = await shell.ended;
    if (signal === 'SIGKILL') {
      await eventually('the end of both', () => processesAbout(env.TMPDIR).length === 0);
      return;
    }
    assert.deepEqual([code, stderr], [signal === 'SIGINT' ? 130 : 143, 'belfry: interrupted; the guest is stopped\n']);
    assertClean();
  });
}

test('a store is closed in order when the shell is interrupted', async (t) => {
  if (!(await isHere(t, 'user-mode-linux'))) return;
  const cwd = testFolder(t);
  const members = "sizeBytes: 1 << 20, read() {}, close() { writeFileSync('closed', ''); }";
  writeFileSync(join(cwd, 'disk.ts'), `import { writeFileSync } from 'node:fs';\nexport default { ${members} };\n`);
  await using shell = startBelfry(['shell', './disk.ts', '-c', 'echo up; sleep 1000'], { cwd });
  await shell.says(/up/);
  shell.kill('SIGINT');
  assert.equal((await shell.ended).code, 130);
  assert.ok(existsSync(join(cwd, 'closed')));
});

test('a User-Mode Linux that cannot run here is passed over, and the shell says so', async (t) => {
  if (!(await isHere(t, 'user-mode-linux')) || !(await isHere(t, 'qemu'))) return;
  const { env, assertClean } = ownTmp(t);
  const folder = testFolder(t);
  const programs = {
    'linux.uml': "echo 'ptrace: not permitted' >&2; exit 1",
    'qemu-system-x86_64': 'echo none; exit 3',
  };
  for (const [name, script] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const PATH = `${folder}:${process.env.PATH}`;
  const { code, stderr } = await belfry(['shell', 'mem:8M', '-c', 'true'], { env: { ...env, PATH } });
  assert.match(stderr, /^belfry: User-Mode Linux does not run here: the guest ended .* ptrace: not permitted\n/);
  assert.match(stderr, /\nbelfry: the guest ended before there was a shell \(exit code 3\): none\n$/);
  assert.equal(code, 1);
  assertClean();
});

test('where there is no Linux to boot, one line says what to install', async (t) => {
  const folder = testFolder(t);
  mkdirSync(join(folder, 'bin'));
  // A machine without programs: even the usual folders are not looked into where they hold one.
  const env = { PATH: join(folder, 'bin'), XDG_CACHE_HOME: folder };
  const { code, stderr } = await belfry(['shell', 'mem:8M', '--guest', 'qemu', '-c', 'true'], { env });
  if (code === 0) return t.skip('QEMU is found without PATH');
  assert.match(stderr, /\nbelfry: [^\n]*apt-get install [^\n]*\n$/);
});

for (const [name, words, code, what] of [
  ['no disk', [], 2, /needs a disk: belfry shell disk\.img/],
  ['a disk that is not there', ['none.img'], 1, /none\.img does not exist/],
  ['a size that is none', ['mem:big'], 2, /"big" is not a size/],
  ['a socket that is not there', ['--socket', 'none.sock'], 1, /no socket at none\.sock: start the back end/],
  ['an unknown guest', ['mem:1M', '--guest', 'plan9'], 2, /--guest .* uml, qemu/],
  ['more disks than it has letters for', Array<string>(9).fill('mem:1M'), 2, /up to 8 disks, not 9/],
  ['--read-only for a back end', ['--socket', 's', '--read-only'], 2, /--read-only is for a STORE/],
] as const) {
  test(`shell refuses ${name} in one line`, async (t) => {
    const ended = await belfry(['shell', ...words, '-c', 'true'], { cwd: testFolder(t) });
    assert.match(ended.stderr, what);
    assert.match(ended.stderr, /^belfry: [^\n]+\n$/);
    assert.deepEqual([ended.code, ended.stdout], [code, '']);
  });
}
