// test/cli: `serve` from its start to its end: the socket it makes or inherits, what it prints, how it is stopped.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { UnixListener, UnixSocket } from '../../src/sys/unix-socket.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { belfry, startBelfry, testFolder, withoutDelays } from './belfry-process.ts';

test('serve makes a socket only its owner may use, whatever the umask, and prints how to start a VM on it', async (t) => {
  const cwd = testFolder(t);
  const before = ['sh', '-c', 'umask 0; exec "$0" "$@"'];
  const startedMs = performance.now();
  await using serving = startBelfry(['serve', 'blk', 'mem:1G', '--socket', 'sock'], { cwd, before });
  await serving.says(/Serving mem:1G \(1G, .*\) at sock/);
  t.diagnostic(`listening after ${(performance.now() - startedMs).toFixed(0)} ms`);
  for (const vmm of [/vhost-user-blk-pci/, /cloud-hypervisor .*vhost_user=on/, /virtio_uml\.device=\S*sock:2/])
    await serving.says(vmm);
  const status = statSync(join(cwd, 'sock'));
  assert.equal(status.isSocket(), true);
  assert.equal(status.mode & 0o777, 0o600);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  for (const threads of ['1', '3']) {
    test(`${signal} ends serve on ${threads} threads with exit code 0, a last line and no socket`, async (t) => {
      const cwd = testFolder(t);
      const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock', '--threads', threads];
      await using serving = startBelfry(args, { cwd });
      await serving.says(/Serving/);
      serving.kill(signal);
      const { code, stdout, stderr } = await serving.ended;
      assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
      assert.match(stdout, /\nclosed: 0 requests, .* 0 calls\n$/);
      assert.equal(existsSync(join(cwd, 'sock')), false);
    });
  }
}

test('regression: SIGTERM while serve starts leaves no socket behind', async (t) => {
  const cwd = testFolder(t);
  for (const delayMs of [0, 2, 10, 30]) {
    await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd });
    await eventually('there is a socket', () => existsSync(join(cwd, 'sock')));
    // Time: any moment of its start will do, and these are different ones.
    await setTimeout(delayMs);
    serving.kill('SIGTERM');
    const { code, stderr } = await serving.ended;
    assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
    assert.equal(existsSync(join(cwd, 'sock')), false);
  }
});

test('serve --json prints one JSON object a line, --quiet prints nothing', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--json'], { cwd });
  await serving.says(/\n/);
  serving.kill('SIGTERM');
  const [listening, closed] = (await serving.ended).stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([listening.event, listening.socket, listening.sizeBytes], ['listening', 'sock', 1 << 20]);
  assert.deepEqual([closed.event, closed.requests], ['closed', 0]);

  using listener = UnixListener.listen(join(cwd, 'quiet'));
  await using quiet = startBelfry(['serve', 'blk', 'mem:1M', '--fd', '3', '--quiet', '--once'], {
    cwd,
    fds: [listener.fd],
  });
  UnixSocket.connect(join(cwd, 'quiet'))[Symbol.dispose]();
  const { code, stdout, stderr } = await quiet.ended;
  assert.deepEqual([code, stdout, withoutDelays(stderr)], [0, '', '']);
});

test('serve replaces the socket of a server that was killed', async (t) => {
  const cwd = testFolder(t);
  const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock'];
  await using killed = startBelfry(args, { cwd });
  await killed.says(/Serving/);
  killed.kill('SIGKILL');
  await killed.ended;
  assert.equal(existsSync(join(cwd, 'sock')), true);
  await using next = startBelfry(args, { cwd });
  await next.says(/Serving/);
  UnixSocket.connect(join(cwd, 'sock'))[Symbol.dispose]();
});

test('serve --once ends with exit code 0 when its front end leaves', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--once'], { cwd });
  await serving.says(/Serving/);
  UnixSocket.connect(join(cwd, 'sock'))[Symbol.dispose]();
  assert.equal((await serving.ended).code, 0);
  assert.equal(existsSync(join(cwd, 'sock')), false);
});

test('serve goes on when a client sends nonsense, and logs one line', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd });
  await serving.says(/Serving/);
  const client = connect(join(cwd, 'sock'));
  // It closes on us with our nonsense unread, which is an ECONNRESET here.
  client.on('error', () => {}).end('GET / HTTP/1.1\r\n\r\n');
  await new Promise((resolve) => client.resume().once('close', resolve));
  UnixSocket.connect(join(cwd, 'sock'))[Symbol.dispose]();
  serving.kill('SIGTERM');
  const { code, stderr } = await serving.ended;
  assert.equal(code, 0);
  assert.match(stderr, /^belfry: session ended: [^\n]+\n$/);
});

test('serve takes the socket systemd passes on, and leaves its file to systemd', async (t) => {
  const cwd = testFolder(t);
  using listener = UnixListener.listen(join(cwd, 'activated'));
  const before = ['sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"'];
  await using serving = startBelfry(['serve', 'blk', 'mem:1M'], { cwd, before, fds: [listener.fd] });
  await serving.says(/an inherited socket/);
  UnixSocket.connect(join(cwd, 'activated'))[Symbol.dispose]();
  serving.kill('SIGTERM');
  assert.equal((await serving.ended).code, 0);
  assert.equal(existsSync(join(cwd, 'activated')), true);
});

test('serve does not take a socket that systemd passed to another process', async (t) => {
  const cwd = testFolder(t);
  using listener = UnixListener.listen(join(cwd, 'activated'));
  const env = { LISTEN_PID: '1', LISTEN_FDS: '1' };
  const { code, stderr } = await belfry(['serve', 'blk', 'mem:1M'], { cwd, env, fds: [listener.fd] });
  assert.equal(code, 2);
  assert.match(stderr, /--socket PATH/);
});

test('serve goes on when its output has no reader any more', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock'], { cwd });
  await serving.says(/Serving/);
  serving.stopReading();
  serving.kill('SIGTERM');
  const { code, stderr } = await serving.ended;
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
  assert.equal(existsSync(join(cwd, 'sock')), false);
});

test('serve without free descriptors lets a front end wait, logs one line, and serves it when there are some', async (t) => {
  const cwd = testFolder(t);
  await using serving = startBelfry(['serve', 'blk', 'mem:1M', '--socket', 'sock', '--json'], { cwd });
  await serving.says(/listening/);
  const limit = (most: number): void => {
    execFileSync('prlimit', ['--pid', String(serving.pid), `--nofile=${most}:`]);
  };
  // The lowest free number is the next to be given out.
  const taken = new Set(readdirSync(`/proc/${serving.pid}/fd`).map(Number));
  let next = 0;
  while (taken.has(next)) next++;
  try {
    limit(next);
  } catch {
    return t.skip('prlimit(1) does not work here');
  }
  using front = RawFrontEnd.connect(join(cwd, 'sock'));
  front.send({ request: Request.GET_FEATURES });
  await serving.says(/a front end waits: accept4: EMFILE: raise the limit of open files/);
  // Time: it tries again every second, in silence, which is what is looked for; if it was too slow to, nothing is proved.
  await setTimeout(1500);
  limit(1024);
  await front.answer(Request.GET_FEATURES);
  serving.kill('SIGTERM');
  const { code, stdout } = await serving.ended;
  assert.equal(code, 0);
  assert.equal(stdout.match(/front end waits/g)?.length, 1);
});
