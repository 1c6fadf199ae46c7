// ImageFile: what it refuses and with which message, locks, and reads and writes at offsets.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { toArrayBuffer } from 'node:ffi';
import {
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { constants as os, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { eventually, patience } from '../testing/patience.ts';
import { ImageFile } from './file.ts';
import { libc } from './libc.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-'));
after(() => rmSync(folder, { recursive: true }));

function image(name: string, sizeBytes = 65536): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

/** Opening `path` fails with `code` and one line that names it and matches `advice`. */
function refuses(path: string, code: string, advice: RegExp, options?: { readOnly: boolean }): void {
  assert.throws(
    () => ImageFile.open(path, options),
    ({ name, code: actual, message }: Error & { code: string }) => {
      assert.deepEqual([name, actual], ['SystemError', code], message);
      assert.ok(message.includes(path) && !message.includes('\n'), message);
      assert.match(message, advice);
      return true;
    },
  );
}

test('what cannot be a disk is refused with one line that says what to do', () => {
  refuses(join(folder, 'missing.img'), 'ENOENT', /missing\.img does not exist$/);
  refuses(folder, 'EISDIR', /is a directory: name a file or a block device/);
  refuses(folder, 'EISDIR', /is a directory: name a file or a block device/, { readOnly: true });
  refuses('/dev/null', 'EINVAL', /is neither a file nor a block device/);
  refuses(join(image('file.img'), 'below'), 'ENOTDIR', /file\.img\/below$/);
});

test('a size that is not that of a disk is refused when it is asked about', () => {
  for (const [sizeBytes, advice] of [
    [1000, /odd\.img has 1000 bytes, not a multiple of 512: "truncate -s %512 .*odd\.img" rounds it up$/],
    [0, /odd\.img is empty: "truncate -s 1G .*odd\.img" makes it a disk of 1 GiB$/],
  ] as const) {
    using file = ImageFile.open(image('odd.img', sizeBytes));
    assert.throws(() => file.checkSize(), { name: 'SystemError', code: 'EINVAL', message: advice });
  }
  using file = ImageFile.open(image('even.img', 1024));
  file.checkSize();
});

test('the ends of a file are its first and last bytes, and the whole of a short one', () => {
  const path = join(folder, 'ends.img');
  const bytes = new Uint8Array(1000).map((_, i) => i);
  for (const [length, expected] of [
    [1000, 100],
    [60, 60],
    [0, 0],
  ] as const) {
    writeFileSync(path, bytes.subarray(0, length));
    using file = ImageFile.open(path);
    assert.deepEqual(file.ends(100), {
      head: bytes.slice(0, expected),
      tail: bytes.slice(length - expected, length),
    });
  }
});

test('regression: an image is non-blocking while it is opened only', () => {
  using file = ImageFile.open(image('blocking.img'));
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${file.fd}`, 'utf8'))?.[1];
  assert.equal(Number.parseInt(flags as string, 8) & (constants.O_NONBLOCK | constants.O_RDWR), constants.O_RDWR);
});

// SAFETY: errno of this thread, which lives as long as the thread.
const errnoWord = new Int32Array(toArrayBuffer(libc.__errno_location(), 4, false));

type Interruptible = 'open' | 'fstatfs' | 'fdatasync' | 'fallocate' | 'pread' | 'pwrite';

/** Makes the next `times` calls of a C function fail with EINTR; later ones reach the function. */
function interrupt(context: TestContext, name: Interruptible, times: number): () => number {
  const call = libc[name] as (...args: unknown[]) => number;
  let interrupted = 0;
  context.mock.method(libc, name, (...args: unknown[]) => {
    if (interrupted === times) return call(...args);
    interrupted++;
    errnoWord[0] = os.errno.EINTR;
    return -1;
  });
  return () => interrupted;
}

test('regression: a system call that a signal interrupts is made again, fdatasync for one', (context) => {
  const path = image('interrupted.img');
  const calls: Record<Interruptible, (file: ImageFile) => unknown> = {
    open: () => ImageFile.open(path)[Symbol.dispose](),
    fstatfs: (file) => file.fileSystem(),
    fdatasync: (file) => file.sync(),
    fallocate: (file) => file.allocate(0, 4096),
    pread: (file) => file.readInto(0, new Uint8Array(512)),
    pwrite: (file) => file.writeFrom(0, new Uint8Array(512)),
  };
  for (const [name, call] of Object.entries(calls)) {
    const file = ImageFile.open(path, { readOnly: name === 'open' });
    if (name === 'open') file[Symbol.dispose]();
    const interrupted = interrupt(context, name as Interruptible, 3);
    call(file);
    assert.equal(interrupted(), 3, name);
    context.mock.restoreAll();
    file[Symbol.dispose]();
  }
});

test('regression: BLKDISCARD is asked for again when a signal interrupts it', (context) => {
  using file = ImageFile.open(image('device.img'));
  Object.defineProperty(file, 'isBlockDevice', { value: true });
  let calls = 0;
  context.mock.method(libc, 'ioctl', () => {
    errnoWord[0] = os.errno.EINTR;
    return ++calls < 3 ? -1 : 0;
  });
  file.discard(0, 65536);
  assert.equal(calls, 3);
});

test('a FIFO is refused, not waited for', () => {
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path], { timeout: patience(10_000) });
  refuses(path, 'EINVAL', /is neither a file nor a block device/, { readOnly: true });
});

test('an image that may not be written is refused, and can be opened read-only', (context) => {
  const path = image('locked.img');
  chmodSync(path, 0o444);
  const script = `import { ImageFile } from ${JSON.stringify(new URL('./file.ts', import.meta.url).href)};
    process.setuid?.(65534);
    ImageFile.open(process.argv[1], { readOnly: true })[Symbol.dispose]();
    try { ImageFile.open(process.argv[1]) } catch (error) { console.log(error.code, error.message) }`;
  if (process.getuid?.() !== 0) return refuses(path, 'EACCES', /permission denied: .* or open it read-only/);
  chmodSync(folder, 0o755);
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module-typescript', '--eval'];
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, script, path], {
    encoding: 'utf8',
    timeout: patience(20_000),
  });
  if (stdout === '') return context.skip(`as another user this Node does not start: ${stderr.slice(0, 100)}`);
  assert.match(stdout, /^EACCES open: EACCES: .*locked\.img: permission denied: .* or open it read-only/);
});

test('an image on a read-only file system can only be opened read-only', (context) => {
  if (process.getuid?.() !== 0) return context.skip('a read-only mount needs root');
  const mountPoint = join(folder, 'mount');
  mkdirSync(mountPoint);
  const mount = (...args: string[]): number | null => spawnSync('mount', args, { timeout: patience(10_000) }).status;
  if (mount('-t', 'tmpfs', 'tmpfs', mountPoint) !== 0) return context.skip('mounting is not allowed here');
  context.after(() => execFileSync('umount', ['--lazy', mountPoint], { timeout: patience(10_000) }));
  const path = image('mount/disk.img');
  mount('-o', 'remount,ro', mountPoint);
  refuses(path, 'EROFS', /read-only file system: open it read-only/);
  ImageFile.open(path, { readOnly: true })[Symbol.dispose]();
});

test('one writer or many readers: an image in use is refused', () => {
  const path = image('shared.img');
  const writer = ImageFile.open(path);
  refuses(path, 'EAGAIN', /is in use, .*: stop that first/);
  refuses(path, 'EAGAIN', /is in use, .*: stop that first/, { readOnly: true });
  const duplicate = ImageFile.duplicate(writer.fd, path, false);
  writer[Symbol.dispose]();
  refuses(path, 'EAGAIN', /is in use/);
  duplicate[Symbol.dispose]();
  using _one = ImageFile.open(path, { readOnly: true });
  using _two = ImageFile.open(path, { readOnly: true });
  refuses(path, 'EAGAIN', /stop that first, or open it read-only on both sides/);
});

test('an image that is shared has several writers, if all of them share it', () => {
  const path = image('several.img');
  const one = ImageFile.open(path, { isShared: true });
  const two = ImageFile.open(path, { isShared: true });
  using _reader = ImageFile.open(path, { isShared: true, readOnly: true });
  refuses(path, 'EAGAIN', /is in use/);
  refuses(path, 'EAGAIN', /is in use/, { readOnly: true });
  one[Symbol.dispose]();
  two[Symbol.dispose]();
  using _alone = ImageFile.open(path, { readOnly: true });
  assert.throws(() => ImageFile.open(path, { isShared: true }), /is in use/);
});

function qemuIo(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('qemu-io', args, { encoding: 'utf8', timeout: patience(20_000) });
  return { status, output: `${stdout}${stderr}` };
}

test('QEMU respects our lock, and shares an image that is open read-only', (context) => {
  if (qemuIo('--version').status !== 0) return context.skip('qemu-io (qemu-utils) is not installed');
  const path = image('with-qemu.img');
  const writer = ImageFile.open(path);
  assert.match(qemuIo('-f', 'raw', '-c', 'write 0 512', path).output, /Failed to get "write" lock/);
  writer[Symbol.dispose]();
  const reader = ImageFile.open(path, { readOnly: true });
  assert.match(qemuIo('-f', 'raw', '-r', '-c', 'read 0 512', path).output, /read 512\/512 bytes at offset 0/);
  assert.match(qemuIo('-f', 'raw', '-c', 'write 0 512', path).output, /Failed to get "write" lock/);
  reader[Symbol.dispose]();
  assert.match(qemuIo('-f', 'raw', '-c', 'write 0 512', path).output, /wrote 512\/512 bytes at offset 0/);
});

test('the lock of QEMU is respected', async (context: TestContext) => {
  if (qemuIo('--version').status !== 0) return context.skip('qemu-io (qemu-utils) is not installed');
  const path = image('of-qemu.img');
  const qemu = spawn('qemu-io', ['-f', 'raw', '-c', 'sleep 60000', path], { stdio: 'ignore' });
  context.after(() => qemu.kill('SIGKILL'));
  // To try it would take a lock, which QEMU would respect. It locks bytes 100 and 101.
  const { ino } = statSync(path);
  const held = new RegExp(`:${ino} 100 101$`, 'm');
  await eventually('QEMU has its locks', () => held.test(readFileSync('/proc/locks', 'utf8')));
  refuses(path, 'EAGAIN', /of-qemu\.img is in use/);
  refuses(path, 'EAGAIN', /is in use/, { readOnly: true });
});

test('small arrays, which the collector moves, are read and written as well as large ones', () => {
  using file = ImageFile.open(image('small.img'));
  const pieces = Array.from({ length: 3000 }, (_, i) => new Uint8Array(1 + (i % 40)).fill(i));
  file.writev(100, pieces);
  const read = pieces.map((piece) => new Uint8Array(piece.length));
  file.readv(100, read);
  assert.deepEqual(read, pieces);
  const byte = new Uint8Array(1);
  file.readInto(101, byte);
  assert.equal(byte[0], 1);
});

test('the extents of a file are where its data is', () => {
  using file = ImageFile.open(image('sparse.img', 10 * 65536));
  assert.deepEqual([...file.dataExtents()], []);
  file.writeFrom(2 * 65536, new Uint8Array(65536).fill(1));
  file.writeFrom(9 * 65536, new Uint8Array(65536).fill(1));
  assert.deepEqual(
    [...file.dataExtents()],
    [
      { start: 2 * 65536, end: 3 * 65536 },
      { start: 9 * 65536, end: 10 * 65536 },
    ],
  );
});

test('regression: an image that cannot be opened leaves no descriptor open, and closes none', () => {
  const open = (): string[] => readdirSync('/proc/self/fd').sort();
  const before = open();
  for (const path of [join(folder, 'missing.img'), folder, '/dev/null'])
    for (const readOnly of [false, true]) assert.throws(() => ImageFile.open(path, { readOnly }));
  assert.deepEqual(open(), before);
});
