// test/cli: how `serve` ends: in order, after --stop-timeout, at once; and what it logs.
import assert from 'node:assert/strict';
import {
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { blockRequest } from '../../src/testing/block-request.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { attach } from '../vhost-user/back-end.ts';
import { type Running, startBelfry, testFolder, withoutDelays } from './belfry-process.ts';

const read = blockRequest.read(0, 512);

interface Serving extends AsyncDisposable {
  readonly process: Running;
  readonly folder: string;
  readonly connect: () => RawFrontEnd;
}

/** Serves a disk module of this text. */
async function serveModule(t: TestContext, text: string, ...flags: readonly string[]): Promise<Serving> {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.ts'), text);
  const process = startBelfry(['serve', 'blk', './disk.ts', '--socket', 'sock', ...flags], { cwd: folder });
  await process.says(/Serving|"listening"/);
  const connect = (): RawFrontEnd => RawFrontEnd.connect(join(folder, 'sock'));
  return { process, folder, connect, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** A front end that waits for a read, which the module knows of. */
async function withRead(serving: Serving, use: () => Promise<void>): Promise<void> {
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: serving.connect }, guest);
  attached.ring.submit(read);
  await serving.process.says(/asked/);
  await use();
}

const NEVER = `export default { sizeBytes: 65536, read() { console.log('asked'); return new Promise(() => {}); } };`;
const BUSY = `import { writeSync } from 'node:fs';
export default { sizeBytes: 65536, read() { writeSync(1, 'asked, and busy'); for (;;); } };`;
const OWN_TIMER = `setInterval(() => {}, 1000); export default { sizeBytes: 65536, read() {} };`;

test('regression: with a store that never answers serve ends after --stop-timeout, with exit code 1 and a line', async (t) => {
  await using serving = await serveModule(t, NEVER, '--stop-timeout', '3');
  await withRead(serving, async () => {
    serving.process.kill('SIGTERM');
    const { code, stderr } = await serving.process.ended;
    assert.match(
      stderr,
      /^belfry: requests in flight are waited for up to 3 s; a second signal does not wait for them$/m,
    );
    assert.match(stderr, /^belfry: queue 0 is to stop, and has waited 1 s for 1 requests/m);
    assert.match(
      stderr,
      /^belfry: ended without finishing: requests in flight were waited for 3 s \(--stop-timeout\)$/m,
    );
    assert.equal(code, 1);
  });
});

test('regression: a second signal does not wait', async (t) => {
  await using serving = await serveModule(t, NEVER, '--stop-timeout', '1000');
  await withRead(serving, async () => {
    serving.process.kill('SIGTERM');
    await serving.process.complains(/requests in flight are waited for/);
    serving.process.kill('SIGINT');
    const { code, stderr } = await serving.process.ended;
    assert.match(stderr, /^belfry: ended without finishing: a second SIGINT: requests in flight are not waited for$/m);
    assert.equal(code, 1);
  });
});

test('regression: a module that computes without end does not keep the process', async (t) => {
  await using serving = await serveModule(t, BUSY, '--stop-timeout', '1');
  await withRead(serving, async () => {
    // Where it is can still be asked.
    serving.process.kill('SIGUSR2');
    await serving.process.complains(/^belfry: thread 0 of 1 has not answered for 1 s: its device or store keeps it$/m);
    serving.process.kill('SIGTERM');
    const { code, stderr } = await serving.process.ended;
    assert.match(stderr, /^belfry: ended without finishing: /m);
    assert.equal(code, 1);
  });
});

test('regression: a module that keeps a timer does not keep the process', async (t) => {
  await using serving = await serveModule(t, OWN_TIMER);
  serving.process.kill('SIGTERM');
  const { code, stdout, stderr } = await serving.process.ended;
  assert.match(stdout, /\nclosed: 0 requests/);
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
});

test('regression: what is printed for a reader that does not read does not keep the process', async (t) => {
  const text = `for (let i = 0; i < 3000; i++) console.error('x'.repeat(200)); ${OWN_TIMER}`;
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.ts'), text);
  // A pipe whose other end is open, and never read.
  const before = ['sh', '-c', 'mkfifo fifo; exec 3<>fifo; exec "$0" "$@" 2>fifo'];
  await using process = startBelfry(['serve', 'blk', './disk.ts', '--socket', 'sock'], { cwd: folder, before });
  await process.says(/Serving/);
  process.kill('SIGTERM');
  const { code, stdout } = await process.ended;
  assert.match(stdout, /\nclosed: 0 requests/);
  assert.equal(code, 0);
});

test('regression: memory that the front end takes back ends the process with a line, not by SIGBUS', async (t) => {
  const folder = testFolder(t);
  await using process = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--json'], { cwd: folder });
  await process.says(/listening/);
  // A file of tmpfs cannot be sealed.
  const shm = mkdtempSync('/dev/shm/belfry-test-');
  t.after(() => rmSync(shm, { recursive: true }));
  const file = openSync(join(shm, 'memory'), 'w+');
  unlinkSync(join(shm, 'memory'));
  using guest = new RawGuest({ file });
  const connect = (): RawFrontEnd => RawFrontEnd.connect(join(folder, 'sock'));
  using attached = await attach({ path: '', lines: [], connect }, guest);
  await attached.ring.serve(read);
  await process.says(/"memory-unsealed"/);
  const kick = attached.ring.kick;
  ftruncateSync(file, 0);
  kick.signal();
  const { code, signal, stderr } = await process.ended;
  const { level, event, code: what, line } = JSON.parse(stderr);
  assert.deepEqual([level, event, what], ['error', 'failed', 'BELFRY_MEMORY_LOST']);
  assert.match(line, /^the front end took back memory that it had shared: /);
  assert.deepEqual([code, signal], [1, null]);
  ftruncateSync(file, 1 << 20);
});

test('regression: an image in memory that another program truncates ends the process with a line that names it', async (t) => {
  const folder = testFolder(t);
  const shm = mkdtempSync('/dev/shm/belfry-test-');
  t.after(() => rmSync(shm, { recursive: true }));
  const image = join(shm, 'disk.img');
  writeFileSync(image, new Uint8Array(1 << 20).fill(1));
  await using process = startBelfry(['serve', 'blk', image, '--socket', 'sock', '--json'], { cwd: folder });
  await process.says(/listening/);
  using guest = new RawGuest();
  const connect = (): RawFrontEnd => RawFrontEnd.connect(join(folder, 'sock'));
  using attached = await attach({ path: '', lines: [], connect }, guest);
  await attached.ring.serve(read);
  truncateSync(image, 0);
  attached.ring.submit(read);
  const { code, signal, stderr } = await process.ended;
  const { code: what, line } = JSON.parse(stderr);
  assert.equal(what, 'BELFRY_MEMORY_LOST');
  assert.equal(
    line,
    `${image} became shorter while it was served: another program truncated it; stop a guest before its image shrinks`,
  );
  assert.deepEqual([code, signal], [1, null]);
});

/** A module that fails some time after a request. */
const BY_ITSELF = (how: string): string => `
export default { sizeBytes: 65536, read() { console.log('asked'); setImmediate(() => { ${how} }); } };`;

for (const [what, how, line] of [
  ['throws where nobody catches it', "throw new Error('no luck');", /^belfry: no luck\n$/],
  ['rejects where nobody catches it', "Promise.reject(new Error('no luck'));", /^belfry: no luck\n$/],
  ['ends its thread', 'process.exit(0);', /^belfry: device-thread ended before it was told to\n$/],
] as const)
  test(`regression: a module that ${what} ends the process with one line, not by an abort of Node`, async (t) => {
    await using serving = await serveModule(t, BY_ITSELF(how));
    await withRead(serving, async () => {
      const { code, signal, stderr } = await serving.process.ended;
      assert.match(stderr, line);
      assert.deepEqual([code, signal], [1, null]);
      assert.equal(existsSync(join(serving.folder, 'sock')), false, 'the socket is left');
    });
  });
