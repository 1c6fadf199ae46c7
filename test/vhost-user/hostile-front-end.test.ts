// test/vhost-user: whatever descriptors a front end sends, the next front end is served, and SIGTERM ends the daemon.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { F_GETFL, F_SETFL, O_NONBLOCK } from '../../src/sys/constants.ts';
import { check, closeFd, libc } from '../../src/sys/libc.ts';
import { closeReceived } from '../../src/sys/received-fd.ts';
import { UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { lingeringTcp } from '../../src/testing/lingering-tcp.ts';
import { addMemReg, eventually, RawFrontEnd, type RawMessage } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { FUSE_OPEN, SilentFileSystem } from '../../src/testing/silent-file-system.ts';
import { encodeU64 } from '../../src/transports/vhost-user/protocol/message.ts';
import { Request, requestName } from '../../src/transports/vhost-user/protocol/spec.ts';
import { type Ended, type Running, startBelfry, testFolder } from '../cli/belfry-process.ts';
import { attach, negotiate } from './back-end.ts';

interface Serving extends AsyncDisposable {
  readonly process: Running;
  readonly connect: () => RawFrontEnd;
  readonly path: string;
}

async function serve(t: TestContext, ...flags: readonly string[]): Promise<Serving> {
  const folder = testFolder(t);
  const process = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', ...flags], { cwd: folder });
  await process.says(/Serving|"listening"/);
  const path = join(folder, 'sock');
  const connect = (): RawFrontEnd => RawFrontEnd.connect(path);
  return { process, path, connect, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** Serves a whole request of another front end, then ends in order. */
async function assertServesTheNext({ process, connect }: Serving, beforeTheEnd?: () => Promise<void>): Promise<void> {
  {
    using guest = new RawGuest();
    using next = await attach({ path: '', lines: [], connect }, guest);
    assert.equal((await next.ring.serve(blockRequest.read(0, 512)))[0]?.status, 0);
  }
  process.kill('SIGTERM');
  await process.says(/\nclosed: 1 request/);
  await beforeTheEnd?.();
  await end(process, 0);
}

/** Every message that a descriptor may come with, and one that has no use for any. */
const carriers: readonly ((fd: number) => RawMessage)[] = [
  ...[Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR].map((request) => (fd: number) => ({
    request,
    payload: encodeU64(0n),
    fds: [fd],
  })),
  (fd) => ({ request: Request.SET_BACKEND_REQ_FD, fds: [fd] }),
  (fd) => ({ request: Request.SET_OWNER, fds: [fd] }),
  (fd) => addMemReg({ guestAddress: 0, sizeBytes: 4096, userAddress: 0, mmapOffset: 0, fd }),
];

for (const carrier of carriers) {
  const name = requestName(carrier(0).request);

  test(`regression: the next front end is served after ${name} with a TCP socket whose close waits for an hour`, async (t) => {
    await using serving = await serve(t);
    const { fd, peer } = await lingeringTcp();
    t.after(() => peer.destroy());
    {
      using front = serving.connect();
      await negotiate(front);
      front.send(carrier(fd));
      closeReceived(fd);
    }
    await assertServesTheNext(serving);
  });

  test(`regression: the next front end is served after ${name} with a file of a file system that answers nothing`, {
    skip: SilentFileSystem.whyNot(),
  }, async (t) => {
    await using files = await SilentFileSystem.mount();
    await using serving = await serve(t);
    const fd = files.open();
    await files.requested(FUSE_OPEN);
    {
      using front = serving.connect();
      await negotiate(front);
      front.send(carrier(fd));
      closeReceived(fd);
    }
    // No process of which a thread waits for such a file system can be gone.
    await assertServesTheNext(serving, () => files.end());
  });

  test(`regression: the next front end is served after ${name} with the connection itself`, async (t) => {
    await using serving = await serve(t);
    {
      // Closed as by the end of its process: without a shutdown(2).
      const { fd: own } = UnixSocket.connect(serving.path);
      const front = RawFrontEnd.adopt(own);
      await negotiate(front);
      front.send(carrier(own));
      closeFd(own);
    }
    await assertServesTheNext(serving);
  });
}

/** Puts its connection into a socket, and that into the device, where nobody looks into it; then it is killed. */
const NESTED = `
const { UnixSocket } = await import(process.env.SOCKET_MODULE);
const { RawFrontEnd } = await import(process.env.FRONT_END_MODULE);
const connection = UnixSocket.connect(process.env.SOCKET_PATH);
const front = RawFrontEnd.adopt(connection.fd);
const [ours, theirs] = UnixSocket.pair();
ours.send(Uint8Array.of(1), [connection.fd]);
await front.settle({ request: ${Request.SET_VRING_CALL}, payload: new Uint8Array(8), fds: [theirs.fd] });
console.log('sent');
setInterval(() => {}, 1000);`;

test('regression: a connection that keeps itself open ends when its process is gone and another front end waits', async (t) => {
  await using serving = await serve(t, '--json');
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', NESTED],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        SOCKET_PATH: serving.path,
        SOCKET_MODULE: new URL('../../src/sys/unix-socket.ts', import.meta.url).href,
        FRONT_END_MODULE: new URL('../../src/testing/raw-front-end.ts', import.meta.url).href,
      },
    },
  );
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  using next = serving.connect();
  await next.settle();
  const { stdout } = await end(serving.process, 0);
  assert.match(stdout, /"event":"waiting"/);
  assert.match(stdout, /"event":"session-ended","line":"session ended: connection: its process has exited/);
});

async function end(process: Running, expected: number): Promise<Ended> {
  process.kill('SIGTERM');
  const ended = await process.ended;
  assert.deepEqual([ended.code, ended.signal], [expected, null], ended.stderr);
  return ended;
}

test('regression: a call that blocks on a full counter does not keep the process from ending', async (t) => {
  await using serving = await serve(t, '--stop-timeout', '1');
  using guest = new RawGuest();
  using attached = await attach({ path: '', lines: [], connect: serving.connect }, guest);
  const { fd } = attached.ring.call;
  attached.ring.call.clear();
  writeSync(fd, new Uint8Array(BigUint64Array.of(0xffff_ffff_ffff_fffen).buffer));
  // SAFETY: numbers alone. The flag belongs to what both ends have open, and they set it.
  check(libc.fcntl(fd, F_SETFL, check(libc.fcntl(fd, F_GETFL, 0), 'fcntl') & ~O_NONBLOCK), 'fcntl');
  attached.ring.submit(blockRequest.read(0, 512));
  await eventually('the request was served', () => attached.ring.driver.queue.hasUsed());
  await end(serving.process, 1);
  check(libc.fcntl(fd, F_SETFL, O_NONBLOCK), 'fcntl');
});

test('regression: what is refused a thousand times costs the log some lines', async (t) => {
  const [TIMES, LINES_MAX] = [5000, 60];
  await using serving = await serve(t);
  using front = serving.connect();
  await negotiate(front);
  const payload = new Uint8Array(12 + 4);
  new DataView(payload.buffer).setUint32(4, 4, true);
  for (let i = 0; i < TIMES; i++) await front.acknowledged({ request: Request.SET_CONFIG, payload });
  const { stdout, stderr } = await end(serving.process, 0);
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => /SET_CONFIG/.test(line));
  assert.ok(lines.length > 0 && lines.length <= LINES_MAX, `${lines.length} lines`);
  assert.match(stderr, /SET_CONFIG.*\(and [\d,]+ more like it\)/);
});
