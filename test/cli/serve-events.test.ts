// test/cli: the events of `serve`, in a log, as JSON lines and as the status of the service manager.
import assert from 'node:assert/strict';
import { readSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AF_UNIX, O_NONBLOCK, SOCK_DGRAM } from '../../src/sys/constants.ts';
import { check, closeFd, libc } from '../../src/sys/libc.ts';
import { callScratch } from '../../src/sys/scratch.ts';
import { writeAddress } from '../../src/sys/socket-address.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { eventually } from '../../src/testing/patience.ts';
import { RawFrontEnd } from '../../src/testing/raw-front-end.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import { startBelfry, testFolder, withoutDelays } from './belfry-process.ts';
import { type ServedDisk, serveDisk } from './served-disk.ts';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const read = blockRequest.read(0, 512);

interface Event {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

function serve(t: TestContext, ...args: readonly string[]): Promise<ServedDisk> {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'disk.img'), '');
  truncateSync(join(folder, 'disk.img'), 1 << 20);
  writeFileSync(join(folder, 'failing.ts'), FAILING);
  return serveDisk(folder, args);
}

function eventsIn(text: string): Event[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Event);
}

/** Its first reads fail as those of a disk behind a server that is not there do. */
const FAILING = `
let left = 3;
export default {
  name: 'remote', sizeBytes: 65536,
  async read() {
    if (left-- > 0) throw new TypeError('fetch failed', { cause: Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }) });
  },
};`;

test('regression: front ends that come, wait and leave, a start and a resize are events', async (t) => {
  await using serving = await serve(t, 'disk.img', '--json');
  const { process, folder } = serving;
  using guest = new RawGuest();
  {
    using attached = await serving.attach(guest);
    assert.equal((await attached.ring.serve(read))[0]?.status, 0);
    truncateSync(join(folder, 'disk.img'), 2 << 20);
    process.kill('SIGHUP');
    await process.says(/"event":"resized"/);
    using _second = RawFrontEnd.connect(join(folder, 'sock'));
    await process.says(/"event":"waiting"/);
  }
  await process.says(/"event":"left"(?:.|\n)*"event":"left"/);
  process.kill('SIGTERM');
  const { code, stdout, stderr } = await process.ended;
  assert.deepEqual([code, withoutDelays(stderr)], [0, '']);
  const events = eventsIn(stdout);
  assert.deepEqual(
    events.map(({ event, level }) => `${event} ${level}`),
    [
      ...['listening info', 'connected info', 'started info', 'resized info', 'waiting warning', 'left info'],
      ...['connected info', 'left info', 'closed info'],
    ],
  );
  for (const { time } of events) assert.match(time, TIME);
  const find = (name: string): Event => events.find(({ event }) => event === name) as Event;
  assert.match(String(find('started').features), /^0x[0-9a-f]+$/);
  assert.deepEqual([find('started').regions, find('started').memoryBytes], [1, 1 << 20]);
  assert.equal(find('resized').sizeBytes, 2 << 20);
  assert.equal(find('listening').pid, process.pid);
});

test('regression: an error of a store is logged with its cause, and so is its end', async (t) => {
  await using serving = await serve(t, './failing.ts', '--json');
  using guest = new RawGuest();
  using attached = await serving.attach(guest);
  for (let i = 0; i < 4; i++) await attached.ring.serve(read);
  await serving.process.says(/"event":"recovered"/);
  serving.process.kill('SIGTERM');
  const events = eventsIn((await serving.process.ended).stdout);
  const [failed] = events.filter(({ event }) => event === 'store-failed');
  assert.equal(failed?.level, 'error');
  assert.equal(failed?.code, 'ECONNREFUSED');
  assert.match(String(failed?.line), /^store remote: read at byte 0 failed: fetch failed \(connect ECONNREFUSED\)$/);
  const recovered = events.find(({ event }) => event === 'recovered');
  assert.match(String(recovered?.line), /^store remote: a read succeeds again, after 3 failures in [\d.]+ s$/);
});

test('regression: a failure that programs read is JSON on standard error, with time, level and code', async (t) => {
  const process = startBelfry(['serve', 'blk', 'none.img', '--socket', 'sock', '--json'], { cwd: testFolder(t) });
  const { code, stdout, stderr } = await process.ended;
  assert.deepEqual([code, stdout], [1, '']);
  const [failed] = eventsIn(stderr);
  assert.match(failed?.time ?? '', TIME);
  assert.deepEqual([failed?.level, failed?.event, failed?.code], ['error', 'failed', 'ENOENT']);
});

/** A service manager's end of NOTIFY_SOCKET: each datagram is a line. sd_notify(3). */
function notifySocket(t: TestContext, address: string): () => string[] {
  // SAFETY: numbers alone.
  const fd = check(libc.socket(AF_UNIX, SOCK_DGRAM | O_NONBLOCK, 0), 'socket');
  t.after(() => closeFd(fd));
  bindTo(fd, address);
  const lines: string[] = [];
  const into = new Uint8Array(4096);
  return () => {
    try {
      for (;;) lines.push(new TextDecoder().decode(into.subarray(0, readSync(fd, into))));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
    return lines;
  };
}

function bindTo(fd: number, address: string): void {
  const isAbstract = address.startsWith('@');
  const length = writeAddress(address);
  if (isAbstract) callScratch.bytes[2] = 0;
  // SAFETY: the address lies in this thread's scratch until the call returns.
  check(libc.bind(fd, callScratch.address, isAbstract ? length - 1 : length), 'bind');
}

for (const kind of ['path', 'name in the abstract namespace'])
  test(`regression: the service manager gets READY, STATUS and STOPPING (a ${kind})`, async (t) => {
    const folder = testFolder(t);
    const NOTIFY_SOCKET = kind === 'path' ? join(folder, 'notify') : `@belfry-test-${process.pid}`;
    const told = notifySocket(t, NOTIFY_SOCKET);
    const args = ['serve', 'blk', 'mem:1M', '--socket', 'sock', '--quiet'];
    await using serving = startBelfry(args, { cwd: folder, env: { NOTIFY_SOCKET } });
    await eventually('READY=1', () => told().includes('READY=1'));
    const front = RawFrontEnd.connect(join(folder, 'sock'));
    await eventually('it says who is there', () => told().includes('STATUS=a front end connected'));
    front[Symbol.dispose]();
    await eventually('it says who left', () => told().includes('STATUS=the front end left'));
    serving.kill('SIGTERM');
    const { code, stdout, stderr } = await serving.ended;
    assert.deepEqual([code, stdout, withoutDelays(stderr)], [0, '', '']);
    assert.equal(told().at(-1), 'STOPPING=1');
  });
