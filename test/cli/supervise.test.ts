// test/cli: `serve --supervise`: what it says and does when a device process dies, and how it ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { NotifySocket } from '../../src/testing/notify-socket.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { attach } from '../vhost-user/back-end.ts';
import { belfry, processesAbout, type Surroundings, startBelfry, testFolder } from './belfry-process.ts';
import { belfryLine, terminalProblem } from './on-terminal.ts';
import { Supervised } from './supervised.ts';

const read = blockRequest.read(0, 512);

/** Serves a disk image, or the module `disk.ts`. */
async function supervise(t: TestContext, store: string, flags: readonly string[] = [], surroundings?: Surroundings) {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), 1 << 20);
  if (store !== 'disk.img') writeFileSync(join(folder, 'disk.ts'), store);
  const path = join(folder, store === 'disk.img' ? store : 'disk.ts');
  const supervised = new Supervised(path, join(folder, 'sock'), flags, surroundings);
  await supervised.process.says(/"listening"/);
  return Object.assign(supervised, { folder });
}

/** Reads a block as a new front end, which connects at once. */
async function readOnce({ socket }: Supervised): Promise<number | undefined> {
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(socket);
  using attached = await attach({ path: '', lines: [], connect }, guest);
  const [result] = await attached.ring.serve(read);
  return result?.status;
}

const FAILS_ONCE = (folder: string): string => `
import { existsSync, writeFileSync } from 'node:fs';
export default { sizeBytes: 65536, read() {
  if (existsSync('${folder}/failed')) return;
  writeFileSync('${folder}/failed', '');
  setImmediate(() => { throw new Error('no luck'); });
  return new Promise(() => {});
} };`;

test('a device process that is killed is replaced, and the socket takes connections all the time', async (t) => {
  const folder = testFolder(t);
  using manager = new NotifySocket(join(folder, 'notify.sock'));
  await using supervised = await supervise(t, 'disk.img', [], { env: { NOTIFY_SOCKET: manager.name } });
  const first = supervised.devicePid;
  assert.equal(await readOnce(supervised), 0);
  for (let kills = 1; kills <= 2; kills++) {
    process.kill(supervised.devicePid, 'SIGKILL');
    assert.equal(await readOnce(supervised), 0);
    await eventually('it is restarted', () => supervised.count('restarted') === kills);
  }
  assert.notEqual(supervised.devicePid, first);
  supervised.process.kill('SIGTERM');
  const { code, stdout, stderr } = await supervised.process.ended;
  assert.deepEqual([code, stderr], [0, '']);
  const died = supervised.find('died');
  assert.equal(died.line, `the device process ${first} died (killed by SIGKILL); another one serves at once`);
  assert.equal(supervised.count('listening'), 1, stdout);
  assert.equal(supervised.find('listening').pid, supervised.process.pid);
  const told = manager.take();
  assert.equal(told.filter((line) => line === 'READY=1').length, 1, told.join('; '));
  assert.ok(told.includes('STATUS=a front end connected') && told.includes('STOPPING=1'), told.join('; '));
  assert.deepEqual(
    readdirSync(supervised.folder).filter((name) => name.startsWith('sock')),
    [],
  );
});

test('regression: a process stands by with its code compiled: it has served requests of a front end of its own', async (t) => {
  await using supervised = await supervise(t, 'disk.img', ['--threads', '2']);
  await supervised.standsBy();
  assert.equal(supervised.find('standby').rehearsed, 2 * 3 * 2048);
});

test('the reason of a death is its exit code and its last line, which is printed too', async (t) => {
  const folder = testFolder(t);
  await using supervised = await supervise(t, FAILS_ONCE(folder));
  const pid = supervised.devicePid;
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(supervised.socket);
  using attached = await attach({ path: '', lines: [], connect }, guest);
  attached.ring.submit(read);
  await eventually('it is restarted', () => supervised.count('restarted') === 1);
  assert.equal(await readOnce(supervised), 0);
  await eventually('the reason', () => supervised.count('died') === 1);
  const died = supervised.find('died');
  assert.equal(died.line, `the device process ${pid} died (exit code 1: no luck); another one serves at once`);
  supervised.process.kill('SIGTERM');
  const { code, stderr } = await supervised.process.ended;
  assert.match(stderr, /^\{.*"line":"no luck"\}\n$/);
  assert.equal(code, 0);
});

test('what cannot be served at all ends the command with the line and exit code of the device process', async (t) => {
  const folder = testFolder(t);
  const image = join(folder, 'disk.img');
  const flags = ['--socket', join(folder, 'sock'), '--supervise'];
  const absent = await belfry(['serve', 'blk', image, ...flags]);
  assert.match(absent.stderr, /^belfry: [^\n]*disk\.img does not exist[^\n]*\n$/);
  assert.deepEqual([absent.code, absent.stdout], [1, '']);
  writeFileSync(image, new Uint8Array(65536));
  const wrong = await belfry(['serve', 'blk', image, ...flags, '--engine', 'mapped']);
  assert.match(wrong.stderr, /^belfry: [^\n]*engine mapped: the image is not in memory[^\n]*\n$/);
  assert.deepEqual([wrong.code, wrong.stdout], [2, '']);
  assert.deepEqual(readdirSync(folder), ['disk.img']);
});

for (const [what, args, line] of [
  ['a disk of memory', ['blk', 'mem:1M'], /^belfry: --supervise: mem:1M ends with its process/],
  ['a console on this terminal', ['console'], /^belfry: --supervise: a console on this terminal ends with its process/],
] as const)
  test(`${what} cannot be supervised`, async (t) => {
    const socket = join(testFolder(t), 'sock');
    const { code, stderr } = await belfry(['serve', ...args, '--socket', socket, '--supervise']);
    assert.match(stderr, line);
    assert.equal(code, 2);
  });

test('signals are passed on, and --once ends everything with exit code 0', async (t) => {
  await using supervised = await supervise(t, 'disk.img', ['--once']);
  supervised.process.kill('SIGUSR2');
  await supervised.process.says(/"queues"/);
  truncateSync(join(supervised.folder, 'disk.img'), 2 << 20);
  supervised.process.kill('SIGHUP');
  await supervised.process.says(/"resized"/);
  supervised.process.kill('SIGCONT');
  assert.equal(await readOnce(supervised), 0);
  const { code, stderr } = await supervised.process.ended;
  assert.deepEqual([code, stderr], [0, '']);
});

test('a SIGTERM to all processes at once, as systemd sends it, ends them in order', async (t) => {
  await using supervised = await supervise(t, 'disk.img');
  await supervised.standsBy();
  for (const pid of [supervised.process.pid, ...supervised.pids]) process.kill(pid, 'SIGTERM');
  const { code, stdout, stderr } = await supervised.process.ended;
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /"event":"closed"/);
});

const NEVER = `export default { sizeBytes: 65536, read() { console.log('{"event":"asked"}'); return new Promise(() => {}); } };`;

test('a second signal does not wait for requests in flight', async (t) => {
  await using supervised = await supervise(t, NEVER, ['--stop-timeout', '1000']);
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(supervised.socket);
  using attached = await attach({ path: '', lines: [], connect }, guest);
  attached.ring.submit(read);
  await supervised.process.says(/asked/);
  supervised.process.kill('SIGTERM');
  await supervised.process.says(/requests in flight are waited for/);
  supervised.process.kill('SIGTERM');
  const { code, stdout } = await supervised.process.ended;
  assert.match(stdout, /ended without finishing: a second signal: requests in flight are not waited for/);
  assert.equal(code, 1);
});

test('without their supervisor, which is killed, the device processes end', async (t) => {
  await using supervised = await supervise(t, 'disk.img');
  await supervised.standsBy();
  const frontEnd = UnixSocket.connect(supervised.socket);
  await supervised.process.says(/"connected"/);
  supervised.process.kill('SIGKILL');
  await eventually('all end', () => processesAbout(supervised.folder).length === 0);
  frontEnd[Symbol.dispose]();
  // What is left at its path is replaced.
  await using again = startBelfry(
    ['serve', 'blk', join(supervised.folder, 'disk.img'), '--socket', supervised.socket, '--supervise'],
    {},
  );
  await again.says(/Serving/);
});

test('it ends with its terminal', { skip: terminalProblem }, async (t) => {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.img'), new Uint8Array(65536));
  const words = `serve blk ${folder}/disk.img --socket ${folder}/sock --supervise --log ${folder}/log`;
  const terminal = spawn('script', ['-qec', belfryLine(words), '/dev/null'], { stdio: ['pipe', 'ignore', 'ignore'] });
  await eventually(
    'it serves',
    () => existsSync(`${folder}/log`) && /Serving/.test(readFileSync(`${folder}/log`, 'utf8')),
  );
  terminal.kill('SIGKILL');
  await once(terminal, 'close');
  await eventually('all end', () => processesAbout(folder).length === 0);
  assert.equal(existsSync(`${folder}/sock`), false);
  assert.match(readFileSync(`${folder}/log`, 'utf8'), /closed: 0 requests/);
});
