// test/cli: `belfry upgrade` and SIGUSR1: another version takes over, or the one before goes on.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { attach } from '../vhost-user/back-end.ts';
import { PluggedMachine } from '../vhost-user/plugged-machine.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';
import { Supervised } from './supervised.ts';

const BELFRY = join(import.meta.dirname, '../../bin/belfry.ts');

interface Installed extends Supervised {
  /** Replaces the files of Belfry on the disk. */
  install(text: string): void;
}

/** Serves a disk by a copy of Belfry that can be replaced. */
async function serveInstalled(t: TestContext): Promise<Installed> {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), 1 << 20);
  const program = join(folder, 'program.ts');
  const install = (text: string): void => writeFileSync(program, text);
  install(`await import('${BELFRY}');`);
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', program];
  const supervised = new Supervised(join(folder, 'disk.img'), join(folder, 'sock'), [], { command });
  await supervised.process.says(/"listening"/);
  return Object.assign(supervised, { install });
}

async function assertServes({ socket }: Supervised): Promise<void> {
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(socket);
  using attached = await attach({ path: '', lines: [], connect }, guest);
  const [result] = await attached.ring.serve(blockRequest.read(0, 512));
  assert.equal(result?.status, 0);
}

/** A version that loads, and then does `then` when it is to serve. */
const fake = (then: string): string => `
process.on('message', ({ type }) => { if (type === 'serve') { ${then} } });
process.on('disconnect', () => process.exit());
process.send({ type: 'warm', version: '9.9.9' });`;

test('a new process takes over: the socket takes connections all the time, and the old one ends in order', async (t) => {
  await using supervised = await serveInstalled(t);
  await assertServes(supervised);
  const first = supervised.devicePid;
  const { code, stdout, stderr } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(stdout, /^\/.*\/sock: Belfry \d+\.\d+\.\d+ serves\n$/);
  assert.deepEqual([code, stderr], [0, '']);
  assert.notEqual(supervised.devicePid, first);
  await assertServes(supervised);
  // The same by a signal.
  supervised.process.kill('SIGUSR1');
  await eventually('the second upgrade', () => supervised.count('upgraded') === 2);
  await assertServes(supervised);
  supervised.process.kill('SIGTERM');
  const ended = await supervised.process.ended;
  assert.deepEqual([ended.code, ended.stderr], [0, '']);
  assert.equal(supervised.count('closed'), 3);
  assert.equal(supervised.count('died'), 0);
});

test('the version of the new process is reported, whatever that of the supervisor is', async (t) => {
  await using supervised = await serveInstalled(t);
  supervised.install(fake("process.send({ type: 'ready', served: {} });"));
  const { code, stdout } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(stdout, /: Belfry 9\.9\.9 serves\n$/);
  assert.equal(code, 0);
  assert.equal(supervised.find('restarted').version, '9.9.9');
});

test('if the new files cannot start, the old process goes on, and the command says why', async (t) => {
  await using supervised = await serveInstalled(t);
  const first = supervised.devicePid;
  supervised.install("console.error('belfry: half of it is missing'); process.exitCode = 1;");
  const { code, stdout, stderr } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(
    stderr,
    /^belfry: \/.*\/sock is not upgraded, and is served as before: exit code 1: half of it is missing\n$/,
  );
  assert.deepEqual([code, stdout], [1, '']);
  assert.equal(supervised.devicePid, first);
  await assertServes(supervised);
  assert.equal(supervised.count('upgrade-failed'), 1);
});

test('if the new version starts and then cannot serve, a process of the old one serves again', async (t) => {
  await using supervised = await serveInstalled(t);
  await supervised.standsBy();
  supervised.install(fake("console.error('belfry: the flag is gone'); process.exit(2);"));
  const { code, stderr } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(stderr, /is not upgraded, and is served as before: exit code 2: the flag is gone\n$/);
  assert.equal(code, 1);
  await eventually('it is served again', () => supervised.count('restarted') === 1);
  assert.notEqual(supervised.find('restarted').version, '9.9.9');
  await assertServes(supervised);
});

test('one upgrade at a time', async (t) => {
  await using supervised = await serveInstalled(t);
  // Or it would be started from the new files as well.
  await supervised.standsBy();
  const go = `${supervised.socket}.go`;
  execFileSync('mkfifo', [go]);
  // Waits for what is written to the FIFO.
  supervised.install(`import { readFileSync } from 'node:fs';
    console.log('{"event":"new"}');
    readFileSync('${go}');
    await import('${BELFRY}');`);
  await using first = startBelfry(['upgrade', '--socket', supervised.socket]);
  await supervised.process.says(/"new"/);
  const second = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(second.stderr, /: another upgrade is under way: wait for its end\n$/);
  assert.equal(second.code, 1);
  writeFileSync(go, '');
  assert.equal((await first.ended).code, 0);
});

/** A disk that fails while the file `broken` is there, and its supervisor. */
async function serveBroken(t: TestContext): Promise<Supervised & { readonly broken: string }> {
  const folder = testFolder(t);
  const broken = join(folder, 'broken');
  const disk = join(folder, 'disk.ts');
  writeFileSync(
    disk,
    `import { existsSync } from 'node:fs';
const fails = () => { if (existsSync('${broken}')) throw new Error('no luck'); };
export default { sizeBytes: 65536, read: fails, write: fails, flush() {} };`,
  );
  writeFileSync(broken, '');
  const supervised = new Supervised(disk, join(folder, 'sock'), ['--on-error', 'stop']);
  await supervised.process.says(/"listening"/);
  return Object.assign(supervised, { broken });
}

test('regression: requests that are held after an error are held by the next process, and served when it is told', async (t) => {
  await using supervised = await serveBroken(t);
  await using machine = await PluggedMachine.with(supervised.socket, 'wait');
  const hand = await machine.byHand();
  const block = (byte: number): Uint8Array => new Uint8Array(512).fill(byte);
  hand.submit(blockRequest.write(1, block(1)), blockRequest.write(2, block(2)), blockRequest.read(3, 512));
  await eventually('they are held', () => supervised.count('held') === 1);
  const { code, stderr } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.deepEqual([code, stderr], [0, '']);
  await eventually('they are held again', () => supervised.count('held') === 2);
  assert.equal(supervised.count('store-failed'), 0);
  assert.deepEqual(hand.driver.harvest(), []);
  rmSync(supervised.broken);
  supervised.process.kill('SIGCONT');
  assert.deepEqual(
    (await hand.results()).map(({ status }) => status),
    [0, 0, 0],
  );
});

test('regression: a front end without a record of requests in flight is not upgraded while some are held', async (t) => {
  await using supervised = await serveBroken(t);
  await supervised.standsBy();
  const first = supervised.devicePid;
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(supervised.socket);
  using attached = await attach({ path: '', lines: [], connect }, guest);
  attached.ring.submit(blockRequest.read(0, 512), blockRequest.read(1, 512));
  await eventually('they are held', () => supervised.count('held') === 1);
  const { code, stderr } = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.match(
    stderr,
    /as before: 2 requests held after an error [^\n]*; put the disk right, send SIGCONT, and upgrade then\n$/,
  );
  assert.deepEqual([code, supervised.devicePid, supervised.count('upgrade-failed')], [1, first, 1]);
  rmSync(supervised.broken);
  supervised.process.kill('SIGCONT');
  await eventually('they are served', () => attached.ring.driver.harvest().length > 0);
  await eventually('none is held', () => supervised.count('resumed') === 1);
  const again = await belfry(['upgrade', '--socket', supervised.socket]);
  assert.deepEqual([again.code, again.stderr], [0, '']);
  assert.notEqual(supervised.devicePid, first);
});

test('where nothing is supervised upgrade says so', async (t) => {
  const socket = join(testFolder(t), 'sock');
  const { code, stderr } = await belfry(['upgrade', '--socket', socket]);
  assert.match(
    stderr,
    /^belfry: --socket \/.*\/sock: no supervisor serves it: was it started with "serve --supervise"\?\n$/,
  );
  assert.equal(code, 1);
});
