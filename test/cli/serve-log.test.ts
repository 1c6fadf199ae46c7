// test/cli: `serve --log FILE`: every line goes there, also after the file was moved away.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { eventually } from '../../src/testing/patience.ts';
import { belfry, type Running, startBelfry, testFolder, withoutDelays } from './belfry-process.ts';

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;

const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

/** Waits until a file contains a match. */
async function says(path: string, what: RegExp, serving: Running): Promise<void> {
  let end: unknown;
  serving.ended.then((ended) => {
    end = ended;
  });
  await eventually(`${path} says ${what}`, () => {
    if (what.test(textOf(path))) return true;
    assert.equal(end, undefined, `it ended without writing ${what}: ${textOf(path)}`);
    return false;
  });
}

/** A client that sends nonsense: good for one line. */
function misbehave(socket: string): void {
  using client = UnixSocket.connect(socket);
  client.send(new Uint8Array(12).fill(0xff));
}

test('serve --log appends every line to the file, with its time, and prints none', async (t) => {
  const cwd = testFolder(t);
  const log = join(cwd, 'disk.log');
  for (const run of [1, 2]) {
    await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--log', 'disk.log'], { cwd });
    await says(log, new RegExp(`(Serving[^]*){${run}}`), serving);
    misbehave(join(cwd, 'sock'));
    await says(log, new RegExp(`(session ended[^]*){${run}}`), serving);
    serving.kill('SIGUSR2');
    await says(log, new RegExp(`(no queue runs[^]*){${run}}`), serving);
    serving.kill('SIGTERM');
    const { code, stdout, stderr } = await serving.ended;
    assert.deepEqual([code, stdout, withoutDelays(stderr)], [0, '', '']);
  }
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  const session = [/a front end connected$/, /session ended: /, /the front end left$/];
  const one = [/Serving mem:1M .* at sock/, ...session, /no queue runs$/, /closed: 0 requests/];
  assert.equal(lines.length, 2 * one.length);
  for (const [i, line] of lines.entries())
    assert.match(line, new RegExp(`^${TIME} ${(one[i % one.length] as RegExp).source}`));
  assert.equal(statSync(log).mode & 0o007, 0, 'it is nobody else’s');
});

test('after SIGHUP serve goes on in a new file, as logrotate needs it', async (t) => {
  const cwd = testFolder(t);
  const [log, old] = [join(cwd, 'disk.log'), join(cwd, 'disk.log.1')];
  const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock', '--json', '--log', 'disk.log'];
  await using serving = startBelfry(args, { cwd });
  await says(log, /listening/, serving);
  renameSync(log, old);
  serving.kill('SIGHUP');
  await eventually('a new log', () => existsSync(log));
  misbehave(join(cwd, 'sock'));
  await says(log, /session ended/, serving);
  serving.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
  const events = [old, log].map((path) =>
    textOf(path)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; time: string; level: string; code?: string }),
  );
  assert.deepEqual(
    events.map((of) => of.map(({ event }) => event)),
    [['listening'], ['connected', 'session-ended', 'left', 'closed']],
  );
  for (const { time } of events.flat()) assert.match(time, new RegExp(`^${TIME}$`));
  const ended = events.flat().find(({ event }) => event === 'session-ended');
  assert.deepEqual([ended?.level, ended?.code], ['error', 'BELFRY_PROTOCOL']);
});

test('a log that cannot be opened again stays open, and has a line that says why', async (t) => {
  const cwd = testFolder(t);
  mkdirSync(join(cwd, 'logs'));
  const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock', '--log', 'logs/disk.log'];
  await using serving = startBelfry(args, { cwd });
  await says(join(cwd, 'logs/disk.log'), /Serving/, serving);
  renameSync(join(cwd, 'logs'), join(cwd, 'moved'));
  serving.kill('SIGHUP');
  await says(join(cwd, 'moved/disk.log'), /--log logs\/disk\.log: ENOENT/, serving);
  serving.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
  assert.match(textOf(join(cwd, 'moved/disk.log')), /closed: .*\n$/);
});

test('on a full disk lines of the log are lost, standard error gets one, and serving goes on', async (t) => {
  const cwd = testFolder(t);
  const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock', '--log', '/dev/full'];
  await using serving = startBelfry(args, { cwd, before: ['sh', '-c', 'exec "$0" "$@" 2> errors'] });
  await says(join(cwd, 'errors'), /\n/, serving);
  for (let i = 0; i < 3; i++) misbehave(join(cwd, 'sock'));
  serving.kill('SIGTERM');
  const { code, stdout } = await serving.ended;
  assert.deepEqual([code, stdout], [0, '']);
  assert.match(textOf(join(cwd, 'errors')), /^belfry: --log \/dev\/full: ENOSPC[^\n]*\n$/);
});

for (const [name, log, what] of [
  ['in a folder that does not exist', 'nowhere/disk.log', /--log nowhere\/disk\.log: ENOENT/],
  ['that is a folder', '.', /--log \.: EISDIR/],
  ['that nobody reads from', 'fifo', /--log fifo: ENXIO/],
] as const)
  test(`serve refuses a log ${name}`, async (t) => {
    const cwd = testFolder(t);
    execFileSync('mkfifo', [join(cwd, 'fifo')]);
    const { code, stdout, stderr } = await belfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--log', log], {
      cwd,
    });
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^belfry: [^\n]+\n$/);
    assert.match(stderr, what);
    assert.equal(existsSync(join(cwd, 'sock')), false);
    rmSync(join(cwd, 'fifo'));
  });
