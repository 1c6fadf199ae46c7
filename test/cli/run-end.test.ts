// test/cli: how `belfry run` ends while its output is not read: on a pipe, on a terminal, and at a second signal.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { quoted } from '../../guests/shell-script.ts';
import { eventually } from '../../src/testing/patience.ts';
import { Payload } from '../../src/testing/payload.ts';
import { elfKernel, KERNEL_ORIGIN } from '../../src/testing/payload-kernel.ts';
import { kvmProblem } from '../kvm/kvm-case.ts';
import { testFolder } from './belfry-process.ts';
import { terminalProblem } from './on-terminal.ts';

const SERIAL = 0x3f8;
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** A command line whose guest prints for ever. */
type Guest = (t: TestContext) => string[];

const withoutKvm: Guest = () => [...NODE, join(import.meta.dirname, 'guest-without-kvm.ts')];

const onKvm: Guest = (t) => {
  const kernel = new Payload('long', KERNEL_ORIGIN).set('edx', SERIAL).set('eax', 'x'.charCodeAt(0));
  const file = join(testFolder(t), 'kernel');
  writeFileSync(file, elfKernel(kernel.label('again').out(1).jump('again')));
  return [...NODE, join(import.meta.dirname, '../../bin/belfry.ts'), 'run', '--kernel', file];
};

const guests: readonly [name: string, Guest, skip: string | false][] = [
  ['a thread', withoutKvm, false],
  ['a real one', onKvm, kvmProblem() ?? false],
];

/** Starts a command and reads nothing of what it prints. */
function startUnread(t: TestContext, [file = '', ...args]: readonly string[]): ChildProcess {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** More than it writes before the guest prints, less than fits into a pipe or terminal. */
const PRINTED_BYTES = 1 << 15;
/** Looks in a row that find nothing new written: the last of them are milliseconds apart. */
const STILL_LOOKS = 400;

/** Waits until the process has printed, and prints no more, since its output is not read. */
async function untilItWaits(pid: number): Promise<void> {
  let [before, looks] = [0, 0];
  await eventually('it waits for a reader', () => {
    const written = Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
    looks = written === before && written > PRINTED_BYTES ? looks + 1 : 0;
    before = written;
    return looks >= STILL_LOOKS;
  });
}

/** Its parent may not look for it. */
function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}`) || /^State:\sZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

for (const [name, guest, skip] of guests) {
  test(`run ends with 0 on SIGTERM though its pipe is not read; its guest is ${name}`, { skip }, async (t) => {
    const child = startUnread(t, guest(t));
    await untilItWaits(child.pid as number);
    child.kill('SIGTERM');
    const [code, signal] = await once(child, 'exit');
    assert.deepEqual([code, signal], [0, null]);
  });

  test(`regression: run ends with 0 on SIGTERM though its terminal is not read; its guest is ${name}`, {
    skip: skip || terminalProblem,
  }, async (t) => {
    const pidFile = join(testFolder(t), 'pid');
    const line = `echo $$ > ${quoted(pidFile)}; exec ${guest(t).map(quoted).join(' ')}`;
    const script = startUnread(t, ['script', '-qec', `sh -c ${quoted(line)}`, '/dev/null']);
    await eventually('it runs', () => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'));
    const pid = Number(readFileSync(pidFile, 'utf8'));
    t.after(() => isGone(pid) || process.kill(pid, 'SIGKILL'));
    await untilItWaits(pid);
    process.kill(pid, 'SIGTERM');
    await eventually('it has ended', () => isGone(pid));
    script.stdout?.resume();
    assert.deepEqual((await once(script, 'close'))[0], 0);
  });
}

test('run ends with 1 at a second signal, though a device never closes', async (t) => {
  const child = startUnread(t, [...withoutKvm(t), 'stuck']);
  await untilItWaits(child.pid as number);
  const said = once(child.stderr as NodeJS.ReadableStream, 'data');
  child.kill('SIGTERM');
  assert.equal(String((await said)[0]), 'stopping\n');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [1, null]);
});
