// test/vhost-user: front ends that connect, wait and disconnect: their log lines, their order, and leaks after thousands.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { UnixListener, UnixSocket } from '../../src/sys/unix-socket.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually, RawFrontEnd, setMemTable } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { Request } from '../../src/transports/vhost-user/protocol/spec.ts';
import { attach, FEATURES, negotiate, openDescriptors, serveDisk, sharedMappings } from './back-end.ts';

const getFeatures = { request: Request.GET_FEATURES };
const read = blockRequest.read(0, 512);
/** More by hand: BELFRY_SESSIONS=10000. */
const SESSIONS = Number(process.env.BELFRY_SESSIONS ?? 2000);

test('regression: a line is logged when a front end connects, when its driver starts, and when it leaves', async () => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  for (let i = 1; i <= 2; i++) {
    const { front, ring } = await attach(backEnd, guest);
    assert.deepEqual(backEnd.events.splice(0), ['connected', 'started']);
    // Its rings stop and start again: no news.
    await front.settle(setMemTable([guest.region]), ring.enable(false), ring.enable());
    front[Symbol.dispose]();
    await eventually('the end of the session', () => backEnd.events.includes('left'));
    assert.deepEqual(backEnd.events.splice(0), ['left']);
  }
});

test('regression: a front end that breaks the protocol is logged as such, and disconnected', async () => {
  await using backEnd = serveDisk();
  using front = backEnd.connect();
  front.send({ request: 999 });
  await front.closedByPeer();
  await eventually('the end of the session', () => backEnd.events.includes('left'));
  assert.deepEqual(backEnd.events, ['connected', 'session-ended', 'left']);
});

test('regression: a front end that waits for another to leave is logged once, and served then', async () => {
  await using backEnd = serveDisk();
  const first = backEnd.connect();
  await first.settle();
  using second = backEnd.connect();
  second.send(getFeatures);
  await eventually('the line', () => backEnd.lines.length > 0);
  assert.match(backEnd.lines[0] as string, /^a front end waits: another one has been connected for \d+ s$/);
  assert.ok(second.isSilent());
  using third = backEnd.connect();
  first[Symbol.dispose]();
  await second.answer(Request.GET_FEATURES);
  assert.ok(third.isSilent());
  assert.deepEqual(backEnd.events, ['connected', 'waiting', 'left', 'connected']);
});

const CHILD = `
const { UnixSocket } = await import(process.argv[1]);
const front = UnixSocket.connect(process.argv[2]);
UnixSocket.connect(process.argv[3]).send(new Uint8Array(1), [front.fd]);
process.stdin.resume().on('end', () => process.exit());`;

/** A front end that another process connected, which has exited; its end of the connection is here. */
async function leftByItsProcess(backEnd: { readonly path: string }): Promise<RawFrontEnd> {
  const path = join(backEnd.path, '../given.sock');
  using listener = UnixListener.listen(path);
  const unixSocket = new URL('../../src/sys/unix-socket.ts', import.meta.url).href;
  const program = ['--input-type=module', '-e', CHILD, unixSocket, backEnd.path, path];
  const child = spawn(process.execPath, program, { stdio: ['pipe', 'ignore', 'ignore'] });
  const fds: number[] = [];
  let giver: UnixSocket | undefined;
  await eventually('the connection of the other process', () => {
    giver ??= listener.accept();
    return giver?.receive(new Uint8Array(1), fds) !== undefined;
  });
  giver?.[Symbol.dispose]();
  const front = RawFrontEnd.adopt(fds[0] as number);
  await front.settle();
  child.stdin.end();
  await once(child, 'exit');
  return front;
}

test('regression: a dead front end whose connection another process keeps open makes room for one that waits', async (t) => {
  const [one, other] = UnixSocket.pair();
  const pidFd = one.peerPidFd();
  for (const end of [one, other]) end[Symbol.dispose]();
  if (pidFd === undefined) return t.skip('the kernel has no SO_PEERPIDFD (Linux 6.5)');
  await using backEnd = serveDisk();
  using dead = await leftByItsProcess(backEnd);
  // No front end waits: another process may have taken the connection over.
  await dead.settle();
  using next = backEnd.connect();
  next.send(getFeatures);
  await next.answer(Request.GET_FEATURES);
  await dead.closedByPeer();
  assert.equal(backEnd.lines.length, 2);
  assert.match(backEnd.lines[0] as string, /^a front end waits: /);
  assert.match(backEnd.lines[1] as string, /^session ended: connection: its process has exited, /);
});

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** What this process has of everything that a session could leave behind. */
interface Held {
  readonly descriptors: number;
  readonly mappings: number;
  readonly threads: number;
  readonly heapKiB: number;
  readonly residentKiB: number;
}

function held(): Held {
  // V8 frees unused code after some rounds.
  for (let i = 0; i < 8; i++) collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return {
    descriptors: openDescriptors(),
    mappings: sharedMappings(),
    threads: readdirSync('/proc/self/task').length,
    heapKiB: Math.round((heapUsed + external) / 1024),
    residentKiB: Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]),
  };
}

test(`regression: ${SESSIONS} front ends that come and go leave descriptors, threads and memory as they were`, async (t) => {
  await using backEnd = serveDisk();
  using guest = new RawGuest();
  const ring = guest.ring(0, FEATURES);
  /** Leaves at once, with a question open, with memory shared, with a ring that served. */
  const come = async (i: number): Promise<void> => {
    using front = backEnd.connect();
    if (i % 8 < 4) return;
    if (i % 8 < 6) return front.send(getFeatures);
    await negotiate(front);
    await front.settle(setMemTable([guest.region]));
    if (i % 8 === 6) return;
    await front.settle(...ring.start(ring.driver.queue.availableIndex));
    assert.equal((await ring.serve(read))[0]?.status, 0);
  };
  const afterSessions = async (count: number): Promise<Held> => {
    for (let i = 0; i < count; i++) await come(i);
    using last = backEnd.connect();
    await last.settle();
    backEnd.events.length = 0;
    return held();
  };
  const before = await afterSessions(400);
  const after = await afterSessions(SESSIONS);
  t.diagnostic(`${JSON.stringify(before)}, then ${JSON.stringify(after)}`);
  const { heapKiB, residentKiB: _resident, ...things } = after;
  assert.deepEqual(things, { descriptors: before.descriptors, mappings: 1, threads: before.threads });
  // Less than half a KiB each: a session that was kept would be more.
  assert.ok(heapKiB - before.heapKiB < SESSIONS / 2, `${heapKiB - before.heapKiB} KiB more for ${SESSIONS} sessions`);
  // Some did not wait for their answer.
  assert.deepEqual(
    backEnd.lines.filter((line) => !/^session ended: GET_FEATURES: .* does not take the answer/.test(line)),
    [],
  );
});
