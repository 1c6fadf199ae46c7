// test/cli: wrong uses of `serve`: one line on stderr, the right exit code, and nothing left behind.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { UnixListener, UnixSocket } from '../../src/sys/unix-socket.ts';
import { belfry, type Ended, type Surroundings, startBelfry, testFolder } from './belfry-process.ts';

const USAGE = 2;
const FAILURE = 1;

/** The command ended with `code` and printed one line, which matches `what`. */
function assertRefused(ended: Ended, code: number, what: RegExp): void {
  assert.match(ended.stderr, /^belfry: [^\n]+\n$/, 'one line on standard error');
  assert.match(ended.stderr, what);
  assert.deepEqual([ended.code, ended.stdout], [code, '']);
}

/** Serves STORE in a folder that holds `image` (1 MiB) and expects to be refused, with no socket left behind. */
async function refused(
  t: TestContext,
  args: readonly string[],
  code: number,
  what: RegExp,
  files: Readonly<Record<string, string>> = {},
): Promise<void> {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'image'), '');
  truncateSync(join(cwd, 'image'), 1 << 20);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
  assertRefused(await belfry(['serve', 'blk', ...args], { cwd }), code, what);
  assert.equal(existsSync(join(cwd, 'sock')), false, 'a socket was left behind');
}

const stores: readonly [string, store: string, code: number, RegExp][] = [
  ['no such file', 'nowhere.img', FAILURE, /nowhere\.img does not exist: "truncate -s/],
  ['an empty file', 'empty', FAILURE, /empty is empty: "truncate -s/],
  ['a size that is not a multiple of 512', 'odd', FAILURE, /odd has 1000 bytes, not a multiple of 512/],
  ['a directory', '.', FAILURE, /\. is a directory/],
  ['a character device', '/dev/null', FAILURE, /\/dev\/null is neither a file nor a block device/],
  ['a disk of memory of 1000 bytes', 'mem:1000', USAGE, /mem:1000: .*multiple of 512/],
  ['a disk of memory without a size', 'mem:', USAGE, /mem:: a disk in memory has a size: mem:1G/],
  ['a size in words', 'mem:lots', USAGE, /mem:lots: "lots" is not a size/],
  ['a module that is not there', './none.ts', FAILURE, /none\.ts: no such file/],
];

for (const [name, store, code, what] of stores) {
  test(`serve refuses ${name}`, async (t) => {
    await refused(t, [store, '--socket', 'sock'], code, what, { empty: '', odd: 'x'.repeat(1000) });
  });
}

const modules: readonly [string, source: string, RegExp][] = [
  ['throws when it is loaded', "throw new Error('no luck');", /disk\.ts: the module failed: no luck/],
  ['throws no error', "throw 'plain words';", /disk\.ts: the module failed: plain words/],
  ['throws when it makes the disk', 'export default () => { throw new Error("no disk"); };', /failed: no disk/],
  ['rejects', 'export default async () => { throw new Error("later"); };', /failed: later/],
  ['throws over several lines', 'throw new Error("one\\ntwo");', /disk\.ts: the module failed: one two/],
  ['is no TypeScript', 'export default {{{', /disk\.ts: the module failed: /],
  ['exports nothing', 'export const disk = 1;', /default export is to be a BlockStore .* it is missing/],
  ['exports a number', 'export default 5;', /it is a number/],
  ['makes nothing', 'export default () => null;', /default export is to be a BlockStore .* it is null/],
  ['exports a disk that cannot be read', 'export default { sizeBytes: 512 };', /the disk has no read/],
  ['has no size', 'export default { read() {} };', /sizeBytes is undefined/],
  ['has an odd size', 'export default { sizeBytes: 1000, read() {} };', /sizeBytes is 1000; .* multiple of 512/],
  ['has a write that is none', 'export default { sizeBytes: 512, read() {}, write: 7 };', /write is a number/],
];

for (const [name, source, what] of modules) {
  test(`serve refuses a disk module that ${name}`, async (t) => {
    await refused(t, ['./disk.ts', '--socket', 'sock'], FAILURE, what, { 'disk.ts': source });
  });
}

const flags: readonly [string, args: readonly string[], RegExp][] = [
  ['no socket', [], /--socket PATH .*--fd/],
  ['a socket and a descriptor', ['--socket', 'sock', '--fd', '3'], /--socket and --fd exclude each other/],
  ['a socket path that is too long', ['--socket', `/tmp/${'x'.repeat(120)}`], /--socket: .*at most 107 bytes.* 125/],
  ['no queue', ['--socket', 'sock', '--queues', '0'], /--queues .* from 1 to/],
  ['too many queues', ['--socket', 'sock', '--queues', '100000'], /--queues .* from 1 to/],
  ['queues in words', ['--socket', 'sock', '--queues', 'many'], /--queues .* from 1 to/],
  ['no thread', ['--socket', 'sock', '--threads', '0'], /--threads .* from 1 to/],
  ['more threads than queues', ['--socket', 'sock', '--queues', '2', '--threads', '3'], /--threads 3: .* 2 queues/],
  [
    'a poll time that is not a number',
    ['--socket', 'sock', '--poll', 'sometimes'],
    /--poll .* off, auto, or microseconds/,
  ],
  ['a poll time of nothing', ['--socket', 'sock', '--poll', ''], /--poll .* off, auto, or microseconds/],
  ['a poll time below zero', ['--socket', 'sock', '--poll=-1'], /--poll .* off, auto, or microseconds/],
  ['a poll time over a second', ['--socket', 'sock', '--poll', '1000001'], /--poll .* microseconds up to 1000000/],
  ['a poll time without end', ['--socket', 'sock', '--poll', 'Infinity'], /--poll .* microseconds up to 1000000/],
  ['a block size that is no power of two', ['--socket', 'sock', '--block-size', '1000'], /--block-size .*power of two/],
  ['a block size of 256 bytes', ['--socket', 'sock', '--block-size', '256'], /--block-size .*power of two from 512/],
  ['a serial number of 21 bytes', ['--socket', 'sock', '--serial', 'x'.repeat(21)], /--serial .* 20 bytes/],
  ['a policy for errors that does not exist', ['--socket', 'sock', '--on-error', 'enospc'], /report, stop, ignore/],
  ['a policy for reads without room', ['--socket', 'sock', '--on-read-error', 'enospc'], /report, stop, ignore/],
  ['a policy in capitals', ['--socket', 'sock', '--on-write-error', 'Stop'], /report, stop, ignore, enospc/],
  [
    'a limit of 0',
    ['--socket', 'sock', '--limit', 'iops=0'],
    /--limit .* iops=0: a whole number .* from 1 to 10000000/,
  ],
  ['a limit below zero', ['--socket', 'sock', '--limit', 'iops=-1'], /--limit .* iops=-1: a whole number/],
  ['a limit that is too high', ['--socket', 'sock', '--limit', 'iops=20000000'], /--limit .* from 1 to 10000000/],
  ['a limit in words', ['--socket', 'sock', '--limit', 'iops=few'], /--limit .* iops=few: "few" is not a number/],
  ['a limit without a name', ['--socket', 'sock', '--limit', '500'], /--limit .* "500" is no limit: write iops=500, /],
  [
    'an unknown limit',
    ['--socket', 'sock', '--limit', 'iop=500'],
    /--limit .* "iop=500" is no limit: write iops=500, /,
  ],
  ['a limit of 10 bytes', ['--socket', 'sock', '--limit-read', 'bps=10'], /--limit-read .* bps=10: 1K to 1T bytes/],
  ['a limit in MB', ['--socket', 'sock', '--limit-write', 'bps=10MB'], /--limit-write .* write 10MiB for 10485760/],
  ['a burst of nothing', ['--socket', 'sock', '--limit', 'burst=2'], /--limit .* burst limits nothing by itself/],
  ['a descriptor below zero', ['--fd', '-1'], /--fd .* from 0 to/],
  ['an unknown flag', ['--socket', 'sock', '--sokcet', 'x'], /unknown option '--sokcet' \(Did you mean --socket/],
  ['a second store', ['image', '--socket', 'sock'], /too many arguments/],
];

for (const [name, args, what] of flags) {
  test(`serve refuses ${name}`, async (t) => refused(t, ['image', ...args], USAGE, what));
}

test('serve refuses a block size that does not fit the disk', async (t) => {
  const args = ['small', '--socket', 'sock', '--block-size', '4096'];
  await refused(
    t,
    args,
    USAGE,
    /--block-size: the block size is 4096; the disk's 1024 bytes are not a multiple of it/,
    { small: 'x'.repeat(1024) },
  );
});

test('serve refuses a block size that does not fit the disk of a module', async (t) => {
  const args = ['./disk.ts', '--socket', 'sock', '--block-size', '4096'];
  const files = { 'disk.ts': 'export default { sizeBytes: 512, read() {} };' };
  await refused(t, args, USAGE, /--block-size: the block size is 4096; the disk's 512 bytes/, files);
});

test('serve refuses direct I/O where there is no page cache to bypass, and with what cannot do it', async (t) => {
  const without = ['--socket', 'sock', '--direct'];
  await refused(
    t,
    ['mem:1M', ...without],
    FAILURE,
    /mem:1M is in memory \(tmpfs\), where nothing is cached: leave out --direct/,
  );
  const files = { 'disk.ts': 'export default { sizeBytes: 512, read() {} };' };
  await refused(t, ['./disk.ts', ...without], USAGE, /--direct: a module is not an image/, files);
  const blocks = 'export default { sizeBytes: 8192, alignment: 4096, read() {} };';
  const small = ['./disk.ts', '--socket', 'sock', '--block-size', '512'];
  const what = /--block-size: the block size is 512; the disk takes whole blocks of 4096: leave it out/;
  await refused(t, small, USAGE, what, { 'disk.ts': blocks });
});

test('serve refuses a socket in a folder that does not exist', async (t) => {
  await refused(
    t,
    ['image', '--socket', 'missing/sock'],
    FAILURE,
    /ENOENT: missing\/sock: does the folder missing exist/,
  );
});

test('serve refuses to replace a regular file by its socket, and leaves it as it is', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'precious'), 'keep me');
  const ended = await belfry(['serve', 'blk', 'mem:1M', '--socket', 'precious'], { cwd });
  assertRefused(ended, FAILURE, /precious exists and is not a socket/);
  assert.equal(readFileSync(join(cwd, 'precious'), 'utf8'), 'keep me');
});

test('serve refuses a socket that is served already, and the first server goes on', async (t) => {
  const cwd = testFolder(t);
  await using first = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd });
  await first.says(/Serving/);
  assertRefused(await belfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd }), FAILURE, /EADDRINUSE: sock: /);
  UnixSocket.connect(join(cwd, 'sock'))[Symbol.dispose]();
  first.kill('SIGTERM');
  assert.equal((await first.ended).code, 0);
});

test('serve refuses an image that is served already, unless both only read', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'image'), '');
  truncateSync(join(cwd, 'image'), 1 << 20);
  await using writer = startBelfry(['serve', 'blk', 'image', '--socket', 'one'], { cwd });
  await writer.says(/Serving/);
  assertRefused(await belfry(['serve', 'blk', 'image', '--socket', 'two'], { cwd }), FAILURE, /image is in use/);
  assert.equal(existsSync(join(cwd, 'two')), false);
});

/** Runs as a user without root's privileges; undefined where that is impossible. */
function asUnprivileged(): Surroundings | undefined {
  if (process.getuid?.() !== 0) return {};
  const before = ['setpriv', '--inh-caps=-all', '--bounding-set=-all'];
  try {
    execFileSync(before[0] as string, [...before.slice(1), 'true']);
    return { before };
  } catch {
    return undefined;
  }
}

test('serve reports a missing permission, for the image and for the folder of the socket', async (t) => {
  const unprivileged = asUnprivileged();
  if (unprivileged === undefined) return t.skip('root may open everything, and setpriv does not work here');
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'secret'), 'x'.repeat(512));
  chmodSync(join(cwd, 'secret'), 0);
  mkdirSync(join(cwd, 'closed'), { mode: 0o500 });
  const surroundings = { cwd, ...unprivileged };
  const image = await belfry(['serve', 'blk', 'secret', '--socket', 'sock'], surroundings);
  assertRefused(image, FAILURE, /EACCES: secret: permission denied/);
  const socket = await belfry(['serve', 'blk', 'mem:1M', '--socket', 'closed/sock'], surroundings);
  assertRefused(socket, FAILURE, /EACCES: closed\/sock: .* may you write in it/);
  chmodSync(join(cwd, 'secret'), 0o400);
  const readable = await belfry(['serve', 'blk', 'secret', '--socket', 'sock'], surroundings);
  assertRefused(readable, FAILURE, /EACCES: secret: permission denied: .* read-only/);
});

test('serve refuses a descriptor that is no listening UNIX socket', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'file'), '');
  const file = openSync(join(cwd, 'file'), 'r');
  t.after(() => closeSync(file));
  using _listener = UnixListener.listen(join(cwd, 'sock'));
  using connected = UnixSocket.connect(join(cwd, 'sock'));
  const cases: readonly [fd: number, RegExp][] = [
    [3, /ENOTSOCK: descriptor 3 /],
    [4, /descriptor 4 is not a listening socket/],
    [99, /EBADF: descriptor 99 /],
  ];
  for (const [fd, what] of cases) {
    const surroundings = { cwd, fds: [file, connected.fd] };
    assertRefused(await belfry(['serve', 'blk', 'mem:1M', '--fd', `${fd}`], surroundings), FAILURE, what);
  }
});

test('serve refuses a TCP socket', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  // Node hands a server's descriptor on to a child that asks for it by this name.
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const ended = await belfry(['serve', 'blk', 'mem:1M', '--fd', '3'], { fds: [fd] });
  assertRefused(ended, FAILURE, /descriptor 3 is not a UNIX socket/);
});

const rngLimits: readonly [string, limit: string, RegExp][] = [
  ['requests a second', 'iops=5', /"iops=5" is no limit: write bps=10M or burst=2/],
  ['too little', 'bps=1', /bps=1: 1K to 1T bytes a second are wanted/],
  ['a size in words', 'bps=lots', /bps=lots: "lots" is not a size/],
  ['a limit twice', 'bps=1K,bps=2K', /bps is there twice/],
  ['a burst alone', 'burst=2', /burst limits nothing by itself: add bps/],
  ['a burst of nothing', 'bps=1K,burst=0', /burst=0: 0.01 to 3600 seconds are wanted/],
];

for (const [name, limit, what] of rngLimits) {
  test(`serve rng refuses ${name}`, async (t) => {
    const ended = await belfry(['serve', 'rng', '--socket', 'sock', '--limit', limit], { cwd: testFolder(t) });
    assertRefused(ended, USAGE, what);
  });
}
