// Two threads write and discard the same bytes of an image on a full tmpfs, in a child process: SIGBUS would end it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isMainThread, workerData } from 'node:worker_threads';
import type { BlockStore } from '../devices/blk/block-store.ts';
import { startThread } from '../sys/thread.ts';
import { patience } from '../testing/patience.ts';
import { mountTmpfs } from '../testing/small-tmpfs.ts';
import { openStore, reopenStore, type StoreDescription } from './open-store.ts';

const MIB = 1024 * 1024;
const CHUNK = 32 * 1024;
const IMAGE_BYTES = 64 * MIB;
const FILE_SYSTEM_BYTES = 24 * MIB;
/** The bytes that one thread writes in a request, while the other one discards the last of them. */
const LONG_BYTES = 4 * MIB;
const ROUNDS = 2000;
/** The environment variable with the path of the image, for the child process. */
const IMAGE = 'BELFRY_TEST_IMAGE';

/** Shared words: the round that has begun, and the round that the other thread has finished. */
const [BEGUN, DONE] = [0, 1];

interface DiscarderSetup {
  readonly description: StoreDescription;
  readonly words: Int32Array;
}

type Writable = Required<Pick<BlockStore, 'write' | 'discard' | 'close'>>;

/** Whether a request succeeds. The only error it may throw is ENOSPC. */
function succeeds(request: () => unknown): boolean {
  try {
    request();
    return true;
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'ENOSPC');
    return false;
  }
}

function waitFor(words: Int32Array, at: number, value: number): void {
  for (let now = Atomics.load(words, at); now !== value; now = Atomics.load(words, at)) Atomics.wait(words, at, now);
}

function set(words: Int32Array, at: number, value: number): void {
  Atomics.store(words, at, value);
  Atomics.notify(words, at);
}

/** One thread: discards where the other one writes, and allocates elsewhere. */
function discard({ description, words }: DiscarderSetup): void {
  const store = reopenStore(description) as Writable;
  const short = new Uint8Array(CHUNK).fill(2);
  for (let round = 1; round <= ROUNDS; round++) {
    waitFor(words, BEGUN, round);
    // Each round hits another moment of the other thread's copy, which takes about a millisecond.
    for (const until = performance.now() + (round % 32) / 32; performance.now() < until; );
    store.discard(LONG_BYTES - CHUNK, CHUNK);
    succeeds(() => store.write(IMAGE_BYTES - CHUNK, short));
    set(words, DONE, round);
  }
  store.close();
}

/** The other thread, with a file system that is full when a round begins. */
function write(path: string): void {
  const { store, description } = openStore(path) as { store: Writable; description: StoreDescription };
  const words = new Int32Array(new SharedArrayBuffer(8));
  const long = new Uint8Array(LONG_BYTES).fill(1);
  store.write(0, long);
  for (let at = LONG_BYTES; succeeds(() => store.write(at, long.subarray(0, CHUNK))); at += CHUNK);
  assert.equal(statSync(path).blocks * 512, FILE_SYSTEM_BYTES);
  const workerData: DiscarderSetup = { description, words };
  startThread(new URL(import.meta.url), { workerData });
  for (let round = 1; round <= ROUNDS; round++) {
    set(words, BEGUN, round);
    succeeds(() => store.write(0, long));
    waitFor(words, DONE, round);
    store.discard(IMAGE_BYTES - CHUNK, CHUNK);
    store.write(0, long);
    process.stdout.write(`${round}\n`);
  }
  store.close();
}

const image = process.env[IMAGE];
if (!isMainThread) discard(workerData);
else if (image !== undefined) write(image);
else {
  test('regression: a discard on one thread while another one writes the same bytes to a full tmpfs', (context) => {
    const mountPoint = mountTmpfs(context, FILE_SYSTEM_BYTES);
    if (mountPoint === undefined) return;
    const path = join(mountPoint, 'disk.img');
    writeFileSync(path, '');
    truncateSync(path, IMAGE_BYTES);
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const argv = ['--disable-warning=ExperimentalWarning', import.meta.filename];
    const options = { env: { ...env, [IMAGE]: path }, encoding: 'utf8', timeout: patience(110_000) } as const;
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, argv, options);
    const rounds = Number(stdout.trim().split('\n').at(-1));
    assert.deepEqual({ status, signal, rounds, stderr }, { status: 0, signal: null, rounds: ROUNDS, stderr: '' });
  });
}
