// The error policies: each one, for each type of request, with a store that throws and one that rejects.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { BlockLoopback } from '../../testing/block-loopback.ts';
import { type BlockRequest, blockRequest } from '../../testing/block-request.ts';
import type { BlockStore } from './block-store.ts';
import type { ErrorPolicy } from './error-policy.ts';
import * as blk from './spec.ts';

const SIZE = 64 * 512;
const REQUESTS: Record<string, BlockRequest> = {
  read: blockRequest.read(1, 512),
  write: blockRequest.write(1, new Uint8Array(512).fill(7)),
  discard: blockRequest.discard({ sector: 1, sectors: 1 }),
  'write of zeroes': blockRequest.writeZeroes({ sector: 1, sectors: 1 }),
  flush: blockRequest.flush(),
};
const EIO = Object.assign(new Error('pwrite: EIO'), { code: 'EIO' });
const ENOSPC = Object.assign(new Error('pwrite: ENOSPC'), { code: 'ENOSPC' });
const AT = ' at byte 512';

/** A store whose every call ends with `end`. */
function ending(end: () => Promise<void> | undefined): BlockStore {
  return { name: 's', sizeBytes: SIZE, read: end, write: end, flush: end, discard: end, writeZeroes: end };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The status of a request that fails with `error`, or `held`; the log; and the bytes that a read got. */
async function outcome(request: BlockRequest, error: Error, isAsync: boolean, onError: ErrorPolicy | undefined) {
  const store = ending(() => {
    if (isAsync) return Promise.reject(error);
    throw error;
  });
  const disk = new BlockLoopback(store, onError && { device: { onError } });
  disk.kick([request]);
  await turn();
  const [result] = disk.driver.harvest();
  assert.equal(disk.queue.inFlight, result === undefined ? 1 : 0);
  return { status: result?.status ?? ('held' as const), result, lines: disk.lines, disk };
}

const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR } = blk;
const expected: readonly [policy: ErrorPolicy | undefined, of: 'read' | 'write', eio: unknown, enospc: unknown][] = [
  [undefined, 'read', IOERR, IOERR],
  [undefined, 'write', IOERR, 'held'],
  [{ read: 'report' }, 'read', IOERR, IOERR],
  [{ write: 'report' }, 'write', IOERR, IOERR],
  [{ read: 'ignore' }, 'read', OK, OK],
  [{ write: 'ignore' }, 'write', OK, OK],
  [{ read: 'stop' }, 'read', 'held', 'held'],
  [{ write: 'stop' }, 'write', 'held', 'held'],
  [{ write: 'enospc' }, 'write', IOERR, 'held'],
  [{ read: 'ignore', write: 'stop' }, 'write', 'held', 'held'],
  [{ read: 'stop', write: 'ignore' }, 'read', 'held', 'held'],
];

suite('a request that the store failed', () => {
  for (const isAsync of [false, true]) {
    for (const [policy, of, eio, enospc] of expected) {
      const how = isAsync ? 'rejects' : 'throws';
      test(`${JSON.stringify(policy ?? 'by default')}, for ${of}s, a store that ${how}`, async () => {
        for (const [name, request] of Object.entries(REQUESTS)) {
          if ((name === 'read') !== (of === 'read')) continue;
          for (const [error, what] of [
            [EIO, eio],
            [ENOSPC, enospc],
          ] as const) {
            // A flush is never held.
            const wanted = name === 'flush' && what === 'held' ? IOERR : what;
            assert.equal((await outcome(request, error, isAsync, policy)).status, wanted, `${name}, ${error.message}`);
          }
        }
      });
    }
  }

  test('an ignored read gives zeroes, and an ignored error is logged', async () => {
    const { result, lines } = await outcome(blockRequest.read(1, 512), EIO, false, { read: 'ignore' });
    assert.deepEqual([result?.data, result?.usedLength], [new Uint8Array(512), 513]);
    assert.deepEqual(lines, [
      `store s: read${AT} failed: pwrite: EIO; it is ignored: the guest is told that it succeeded`,
    ]);
  });

  test('the line says what becomes of a request that is held', async () => {
    const stop: ErrorPolicy = { read: 'stop', write: 'stop' };
    const lineOf = async (request: BlockRequest, error: Error): Promise<string | undefined> =>
      (await outcome(request, error, false, stop)).lines.join('\n');
    const { read, write } = REQUESTS as { read: BlockRequest; write: BlockRequest };
    const end = 'until SIGCONT has it tried again: put the disk right, then send that signal';
    assert.equal(await lineOf(read, EIO), `store s: read${AT} failed: pwrite: EIO; it waits ${end}`);
    assert.equal(
      await lineOf(write, EIO),
      `store s: write${AT} failed: pwrite: EIO; it waits, with all later writes, ${end}`,
    );
    assert.equal(
      await lineOf(write, ENOSPC),
      `store s: write${AT} failed: pwrite: ENOSPC; it waits, with all later writes, until there is room: ` +
        'it is tried again every second, and on SIGCONT',
    );
  });

  test('a policy that does not exist is refused', () => {
    const device = (onError: unknown) => ({ device: { onError: onError as ErrorPolicy } });
    const make = (onError: unknown) => () => new BlockLoopback({ sizeBytes: 512, read() {} }, device(onError));
    assert.throws(
      make({ read: 'enospc' }),
      /^RangeError: onError\.read is enospc; one of report, stop, ignore is wanted/,
    );
    assert.throws(make({ write: 'Stop' }), /^RangeError: onError\.write is Stop; one of report, .*, enospc is wanted/);
  });
});

suite('a flush that failed', () => {
  const MEANING =
    'what was written since the last flush may be lost, and is not written again: ' +
    'stop the guest, look after the disk, then check the file systems on it';

  for (const isAsync of [false, true])
    for (const mode of ['writeback', 'writethrough'])
      test(`in ${mode} mode it is reported and not tried again, with stop too (${isAsync ? 'rejects' : 'throws'})`, async () => {
        let flushes = 0;
        const flush = (): Promise<void> | undefined => {
          if (flushes++ > 1) return undefined;
          if (isAsync) return Promise.reject(EIO);
          throw EIO;
        };
        const store: BlockStore = { name: 's', sizeBytes: SIZE, read() {}, write() {}, flush };
        const features = mode === 'writeback' ? {} : { features: 0n };
        const disk = new BlockLoopback(store, { device: { onError: { write: 'stop' } }, ...features });
        const request = mode === 'writeback' ? blockRequest.flush() : (REQUESTS.write as BlockRequest);
        assert.equal((await disk.request(request)).status, IOERR);
        disk.device.retryHeld();
        await turn();
        assert.equal(flushes, 1);
        assert.deepEqual(disk.lines, [`store s: flush failed: pwrite: EIO; ${MEANING}`]);
        // The next one fails too, and then the store works again.
        assert.equal((await disk.request(request)).status, IOERR);
        assert.equal(disk.lines[1], 'store s: flush failed: pwrite: EIO');
        assert.equal((await disk.request(request)).status, OK);
        assert.match(disk.lines[2] as string, /^store s: a flush succeeds again, after 2 failures/);
        assert.equal(disk.lines.length, 3);
      });

  test('with ignore it is logged and succeeds', async () => {
    const { status, lines } = await outcome(blockRequest.flush(), EIO, true, { write: 'ignore' });
    assert.equal(status, OK);
    assert.deepEqual(lines, ['store s: flush failed: pwrite: EIO; it is ignored: the guest is told that it succeeded']);
  });
});
