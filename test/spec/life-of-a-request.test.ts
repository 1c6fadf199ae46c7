// The path of a request, measured: docs/life-of-a-request.md names every function that a read of 4 KiB calls, and no other.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type Profiler, Session } from 'node:inspector/promises';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { openStore, reopenStore } from '../../src/stores/open-store.ts';
import { EventLoop } from '../../src/sys/event-loop.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { RawGuest, type RawRing } from '../../src/testing/raw-guest.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';

const root = join(import.meta.dirname, '../..');
const PAGE = 'docs/life-of-a-request.md';
/** What a newcomer reads in one sitting. */
const LINES_MAX = 600;
const DISK_BYTES = 1 << 20;
const READ_BYTES = 4096;
// A disk in memory is mapped: the shortest path there is.
const IMAGE = `/dev/shm/belfry-path-${process.pid}.img`;

/** A function that was called. */
interface Called {
  readonly file: string;
  /** Undefined: it has none of its own, and is written within another one. */
  readonly name: string | undefined;
  readonly lines: number;
}

/** Runs a disk on a ring, and hands `measure` a way to have one read served. */
async function onDisk<Result>(measure: (submit: () => void, served: () => Promise<void>) => Promise<Result>) {
  writeFileSync(IMAGE, new Uint8Array(DISK_BYTES).fill(7));
  const opened = openStore(IMAGE);
  // As on a thread of `belfry serve`.
  const store = reopenStore(opened.description);
  const device = new BlockDevice(store);
  using loop = new EventLoop();
  using guest = new RawGuest();
  try {
    const host = new LocalHost(device, loop, { log: assert.fail, guest: new GuestMemory([guest.memory]) });
    const features = device.features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
    const ring = guest.ring(0, features);
    loop.watch(ring.call.fd, { readable: () => ring.call.clear() && loop.stop() });
    const fds = { kickFd: ring.kick.fd, call: { fd: ring.call.fd }, errFd: ring.err.fd };
    await host.start(0, { size: ring.size, base: 0, features, ...ring.driver.queue.addresses, ...fds });
    await loop.run(); // the call with which a queue starts
    return await measure(
      () => ring.submit(blockRequest.read(0, READ_BYTES)),
      () => serveOne(loop, ring),
    );
  } finally {
    store.close?.();
    opened.store.close?.();
    rmSync(IMAGE);
  }
}

async function serveOne(loop: EventLoop, ring: RawRing): Promise<void> {
  await loop.run();
  const [result] = ring.driver.harvest();
  assert.deepEqual(result?.data, new Uint8Array(READ_BYTES).fill(7));
}

/** The functions of the product among those that were called. */
function calledIn({ url, functions }: Profiler.ScriptCoverage): Called[] {
  const file = url.startsWith('file:') ? relative(root, fileURLToPath(url)) : '';
  if (!file.startsWith('src/') || file.startsWith('src/testing/')) return [];
  const text = readFileSync(join(root, file), 'utf8');
  return functions.flatMap(({ functionName, ranges: [range] }) => {
    if (range === undefined || range.count === 0 || functionName.startsWith('<')) return [];
    const source = text.slice(range.startOffset, range.endOffset);
    const lines = source.split('\n').length;
    const isOwn = functionName !== '' && lines > 1;
    return [{ file, name: isOwn ? functionName.replace(/^(?:get|static) /, '') : undefined, lines }];
  });
}

/** What a read calls from the kick on, until its call has been rung. */
async function measurePath(): Promise<Called[]> {
  return await onDisk(async (submit, served) => {
    submit();
    await served(); // warm
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
    submit();
    await session.post('Profiler.takePreciseCoverage'); // what was counted so far
    await served();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    session.disconnect();
    return result.flatMap(calledIn);
  });
}

/** What the test itself has called beside the path: it stops the loop. */
const isOfTheTest = ({ file, name }: Called): boolean => file === 'src/sys/event-loop.ts' && name === 'stop';

/** `file name` for each function in the table of the page. */
function namedOn(page: string): string[] {
  return [...page.matchAll(/^\| `(src\/[^`]+)` \| (.*) \|$/gm)].flatMap(([, file = '', functions = '']) =>
    [...functions.matchAll(/`([^`]+)`/g)].map(([, name]) => `${file} ${name}`),
  );
}

const skip = existsSync('/dev/shm') ? false : 'no /dev/shm';

test(`a read passes through less than ${LINES_MAX} lines, and ${PAGE} names each function of them`, {
  skip,
}, async (t) => {
  const path = (await measurePath()).filter((called) => !isOfTheTest(called));
  const lines = path.reduce((sum, called) => sum + called.lines, 0);
  const files = new Set(path.map(({ file }) => file)).size;
  t.diagnostic(`${path.length} functions, ${lines} lines, ${files} files`);
  const measured = path.flatMap(({ file, name }) => (name === undefined ? [] : [`${file} ${name}`]));
  assert.deepEqual(namedOn(readFileSync(join(root, PAGE), 'utf8')).sort(), [...new Set(measured)].sort());
  assert.ok(lines < LINES_MAX, `${lines} lines`);
});
