// test/cli: `belfry run`: a kernel of a few instructions from start to end, its terminal, and what is refused in one line.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { patience } from '../../src/testing/patience.ts';
import { Payload } from '../../src/testing/payload.ts';
import { bzImageKernel, elfKernel, KERNEL_ORIGIN } from '../../src/testing/payload-kernel.ts';
import { kvmProblem } from '../kvm/kvm-case.ts';
import {
  belfry as belfryWithNotices,
  type Ended,
  type Running,
  type Surroundings,
  startBelfry as startWithNotices,
  testFolder,
  withoutDelays,
} from './belfry-process.ts';

/** Lines that `run` logs on a slow machine or a software KVM; removed here. */
const NOTICES = /^belfry: (?:\/dev\/kvm is a software|the guest has done nothing for) .*\n/gm;

async function withoutNotices(ended: Promise<Ended>): Promise<Ended> {
  const end = await ended;
  return { ...end, stderr: end.stderr.replaceAll(NOTICES, '') };
}

const belfry = (args: readonly string[], surroundings?: Surroundings): Promise<Ended> =>
  withoutNotices(belfryWithNotices(args, surroundings));

function startBelfry(args: readonly string[], surroundings?: Surroundings): Running {
  const running = startWithNotices(args, surroundings);
  return { ...running, ended: withoutNotices(running.ended) };
}

const FAILURE = 1;
const SERIAL = 0x3f8;

const onKvm = { skip: kvmProblem() ?? false };

const out = (payload: Payload, port: number, value: number, sizeBytes: 1 | 2 = 1): Payload =>
  payload.set('edx', port).set('eax', value).out(sizeBytes);

function saying(text: string): Payload {
  const payload = new Payload('long', KERNEL_ORIGIN);
  for (const letter of text) out(payload, SERIAL, letter.charCodeAt(0));
  return payload;
}

const sleeping = (payload: Payload): Payload => payload.label('sleep').hlt().jump('sleep');
const poweringOff = (payload: Payload): Payload => sleeping(out(payload, 0x604, 0x3400, 2));

/** Writes a kernel into a folder of its own, and gives the folder. */
function folderWith(t: TestContext, payload: Payload, format = elfKernel): string {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'kernel'), format(payload));
  return folder;
}

function assertRefused({ code, stdout, stderr }: Ended, expected: number, what: RegExp): void {
  assert.match(stderr, what);
  assert.match(stderr, /^belfry: [^\n]*\n$/, 'one line');
  assert.deepEqual([code, stdout], [expected, '']);
}

for (const format of [elfKernel, bzImageKernel]) {
  test(
    `run boots a kernel of ${format.name}, shows what it says, and ends with 0 when it powers off`,
    onKvm,
    async (t) => {
      const cwd = folderWith(t, poweringOff(saying('Hello\n')), format);
      const { code, stdout, stderr } = await belfry(['run', '--kernel', 'kernel'], { cwd });
      assert.deepEqual([code, stdout, withoutDelays(stderr)], [0, 'Hello\n', '']);
    },
  );
}

test('run ends with the code that the guest wrote to the exit port', onKvm, async (t) => {
  const cwd = folderWith(t, sleeping(out(saying(''), 0xf4, 77)));
  assert.equal((await belfry(['run', '--kernel', 'kernel'], { cwd })).code, 77);
});

test('run ends with 1 and one line when the guest triple-faults', onKvm, async (t) => {
  const cwd = folderWith(t, saying('oh').undefinedInstruction());
  const { code, stdout, stderr } = await belfry(['run', '--kernel', 'kernel'], { cwd });
  assert.deepEqual([code, stdout, stderr], [FAILURE, 'oh', 'belfry: the guest failed: triple fault (vCPU 0)\n']);
});

test('run ends with 1 and one line when the guest asks for a reset', onKvm, async (t) => {
  const cwd = folderWith(t, sleeping(out(saying(''), 0x64, 0xfe)));
  const { code, stderr } = await belfry(['run', '--kernel', 'kernel'], { cwd });
  assert.deepEqual([code, stderr.match(/asked for a reset/)?.length], [FAILURE, 1]);
});

test('run ends with 0 on SIGTERM, and everything the guest printed is there', onKvm, async (t) => {
  const cwd = folderWith(t, sleeping(saying('Hello\n')));
  await using run = startBelfry(['run', '--kernel', 'kernel', '--cpus', '2'], { cwd });
  await run.says(/Hello/);
  run.kill('SIGTERM');
  const { code, stderr } = await run.ended;
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
});

test('run goes on although the output of the guest is not read any more', onKvm, async (t) => {
  const chatter = saying('Hello\n').set('ecx', 20_000).label('again').out(1).decrement('ecx').jumpIfNotZero('again');
  const cwd = folderWith(t, poweringOff(chatter));
  await using run = startBelfry(['run', '--kernel', 'kernel'], { cwd });
  await run.says(/Hello/);
  run.stopReading();
  const { code, stderr } = await run.ended;
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
});

test('run --verbose says how long the start took, and how the guest ended', onKvm, async (t) => {
  const cwd = folderWith(t, poweringOff(saying('')));
  const { stderr } = await belfry(['run', '--kernel', 'kernel', '--verbose'], { cwd });
  assert.match(
    stderr,
    /^belfry: first instruction of the guest .* after Node\nbelfry: the guest ended \(power-off\) after 1 exits? /,
  );
});

for (const transport of ['mmio', 'pci']) {
  test(`run takes disks of every kind on ${transport}, and closes them`, onKvm, async (t) => {
    const cwd = folderWith(t, poweringOff(saying('ok')));
    writeFileSync(join(cwd, 'image'), new Uint8Array(1 << 20));
    const disk = 'export default { sizeBytes: 512, read() {}, close() { console.error("closed"); } };';
    writeFileSync(join(cwd, 'disk.ts'), disk);
    await using served = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd });
    await served.says(/Serving/);
    const disks = ['--disk', 'image', '--disk', 'mem:1M:ro', '--vhost-user', 'sock:blk', '--disk', './disk.ts'];
    const { code, stdout, stderr } = await belfry(['run', '--kernel', 'kernel', '--transport', transport, ...disks], {
      cwd,
    });
    assert.deepEqual([code, stdout, withoutDelays(stderr)], [0, 'ok', 'closed\n']);
  });
}

/** Runs a shell command on a terminal of its own, types `typed` when it has printed `cue`, and returns what it showed. */
async function onTerminal(command: string, cwd: string, cue: RegExp, typed: string): Promise<string> {
  const child = spawn('script', ['-qec', command, '/dev/null'], { cwd, stdio: 'pipe' });
  const timer = setTimeout(() => child.kill('SIGKILL'), patience(30_000));
  let shown = '';
  let hasTyped = false;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    shown += text;
    if (hasTyped || !cue.test(shown)) return;
    hasTyped = true;
    child.stdin.write(typed);
  });
  await new Promise((resolve) => child.once('close', resolve));
  clearTimeout(timer);
  return shown;
}

const hasScript = spawnSync('script', ['--version']).status === 0;
const onTerminals = { skip: onKvm.skip || (hasScript ? false : 'script(1) is not installed') };

const RUN = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  join(import.meta.dirname, '../../bin/belfry.ts'),
];
// BusyBox complains of a terminal without a size.
const MODES = 'stty -a 2>/dev/null | grep -o -- "-*icanon"';

const terminals: readonly [string, kernel: Payload, typed: string, shows: RegExp][] = [
  [
    'Ctrl-A x',
    sleeping(saying('Up')),
    '\x01x',
    /icanon[\s\S]*Ctrl-A x ends the guest, Ctrl-A h shows the keys[\s\S]*Up[\s\S]*code 0\s+icanon/,
  ],
  ['power off', poweringOff(saying('Up')), '', /icanon[\s\S]*Up[\s\S]*code 0\s+icanon/],
  [
    'a triple fault',
    saying('Up').undefinedInstruction(),
    '',
    /icanon[\s\S]*Up[\s\S]*triple fault[\s\S]*code 1\s+icanon/,
  ],
];

for (const [name, kernel, typed, shows] of terminals) {
  test(`run restores the terminal after ${name}`, onTerminals, async (t) => {
    const cwd = folderWith(t, kernel);
    const command = `${MODES}; ${RUN.join(' ')} run --kernel kernel; echo code $?; ${MODES}`;
    assert.match(await onTerminal(command, cwd, /Up/, typed), shows);
  });
}

test('run refuses a socket nobody listens on', onKvm, async (t) => {
  const cwd = folderWith(t, poweringOff(saying('')));
  const ended = await belfry(['run', '--kernel', 'kernel', '--vhost-user', 'none:blk'], { cwd });
  assertRefused(ended, FAILURE, /ENOENT: none: no back end listens there: start it/);
});

test('run names the missing permission, and how to get it', onKvm, async (t) => {
  if (process.getuid?.() !== 0 || spawnSync('setpriv', ['--reuid=65534', 'test', '-r', RUN[2] as string]).status !== 0)
    return t.skip('this needs root, setpriv and a checkout that everybody may read');
  if (spawnSync('setpriv', ['--reuid=65534', '--clear-groups', 'test', '-w', '/dev/kvm']).status === 0)
    return t.skip('everybody may use /dev/kvm here');
  const cwd = folderWith(t, poweringOff(saying('')));
  chmodSync(cwd, 0o755);
  const before = ['setpriv', '--reuid=65534', '--clear-groups'];
  const ended = await belfry(['run', '--kernel', 'kernel'], { cwd, before, env: { NODE_COMPILE_CACHE: cwd } });
  assertRefused(ended, FAILURE, /\/dev\/kvm may not be opened: add yourself to its group/);
});
