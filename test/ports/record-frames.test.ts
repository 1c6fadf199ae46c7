// Frames that are recorded: every one, in order, both ways, in a file that others read; and what bounds the file.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { NetDevice } from '../../src/devices/net/net-device.ts';
import { recordFrames } from '../../src/ports/record-frames.ts';
import { DeviceLoopback } from '../../src/testing/device-loopback.ts';
import type { LoopbackQueue } from '../../src/testing/loopback-queue.ts';
import { eventually } from '../../src/testing/patience.ts';
import { frameOf, headerOf, RecordingPort } from '../reference/net-guest.ts';
import { type Recording, readPcapng } from '../reference/pcapng-reader.ts';

const folder = mkdtempSync(join(tmpdir(), 'belfry-pcap-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `${files++}.pcapng`);

interface Guest extends AsyncDisposable {
  readonly next: RecordingPort;
  readonly device: NetDevice;
  readonly loop: DeviceLoopback;
  transmit(frame: Uint8Array): Promise<unknown>;
  receive(frame: Uint8Array): Promise<Uint8Array>;
}

async function boot(file: string, limitBytes?: number): Promise<Guest> {
  const next = new RecordingPort();
  const device = new NetDevice({ port: recordFrames(next, { file, limitBytes }) });
  const loop = await DeviceLoopback.start(device, { size: 64, memoryBytes: 1 << 20 });
  const [receiveq, transmitq] = loop.queues as [LoopbackQueue, LoopbackQueue];
  return {
    ...{ next, device, loop },
    transmit: (frame) => transmitq.request({ readable: [headerOf({}), frame] }),
    receive: async (frame) => {
      const answer = receiveq.request({ writable: [12 + frame.length] });
      next.onFrame?.(frame);
      return (await answer).bytes.subarray(12);
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

/** Three frames out and three in, of lengths that need padding and that need none. */
async function talk(guest: Guest): Promise<void> {
  for (const length of [60, 61, 62]) {
    await guest.transmit(frameOf(length));
    assert.deepEqual(await guest.receive(frameOf(length + 3)), frameOf(length + 3));
  }
}

function checkTalk({ frames, counts }: Recording): void {
  assert.deepEqual(
    frames.map(({ direction, frame }) => `${direction} ${frame.length}`),
    ['out 60', 'in 63', 'out 61', 'in 64', 'out 62', 'in 65'],
  );
  for (const { frame } of frames) assert.deepEqual(frame, frameOf(frame.length));
  const times = frames.map(({ ns }) => ns);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => (a < b ? -1 : Number(a > b))),
  );
  assert.ok(Math.abs(Number((times[0] as bigint) / 1_000_000n) - Date.now()) < 3_600_000);
  assert.deepEqual(counts, { received: 6n, dropped: 0n });
}

suite('a recording of frames', () => {
  test('has both directions in order, with their bytes and times; and the port around it passes everything on', async () => {
    const file = newFile();
    {
      await using guest = await boot(file);
      await talk(guest);
      assert.deepEqual(
        guest.next.sent.map(({ frame }) => frame.length),
        [60, 61, 62],
      );
      guest.next.onLink?.(false);
      assert.equal(guest.device.isLinkUp, false);
      assert.equal(guest.next.started.length, 1);
    }
    checkTalk(readPcapng(readFileSync(file)));
  });

  test('reaches the file while the guest runs, in whole blocks', async () => {
    const file = newFile();
    await using guest = await boot(file);
    await guest.transmit(frameOf(100));
    await eventually(
      'the frame is in the file',
      () => statSync(file).size > 0 && readPcapng(readFileSync(file)).frames.length === 1,
    );
  });

  test('ends at its limit, says so once, and counts what is missing; frames go on', async () => {
    const file = newFile();
    const limitBytes = 128 * 1024;
    {
      await using guest = await boot(file, limitBytes);
      for (let i = 0; i < 100; i++) await guest.transmit(frameOf(2000));
      assert.equal(guest.next.sent.length, 100);
      assert.deepEqual(guest.loop.lines, [`${file} is full: later frames are not recorded`]);
    }
    const { frames, counts } = readPcapng(readFileSync(file));
    assert.ok(statSync(file).size <= limitBytes && statSync(file).size > limitBytes - 2100);
    assert.deepEqual(counts, { received: 100n, dropped: BigInt(100 - frames.length) });
  });

  test('never waits: what comes before the disk has written is kept in memory up to 4 MiB, and the rest is counted', async () => {
    const file = newFile();
    const next = new RecordingPort();
    const port = recordFrames(next, { file });
    const frame = frameOf(60_000);
    // Without a loop no completion is looked at, as if the disk were stuck.
    for (let i = 0; i < 200; i++) port.send(frame, headerOf({}));
    assert.equal(next.sent.length, 200);
    await port.close?.();
    const { frames, counts } = readPcapng(readFileSync(file));
    assert.ok(frames.length > 40 && frames.length < 80, `${frames.length}`);
    assert.deepEqual(counts, { received: 200n, dropped: BigInt(200 - frames.length) });
  });

  test('a device instead of a file is refused', { skip: !existsSync('/dev/full') }, () => {
    assert.throws(() => recordFrames(new RecordingPort(), { file: '/dev/full' }), /\/dev\/full is not a regular file/);
  });

  test('a folder that is not there, and a limit that no frame fits', () => {
    assert.throws(() => recordFrames(new RecordingPort(), { file: join(folder, 'none/file') }), { code: 'ENOENT' });
    assert.throws(() => recordFrames(new RecordingPort(), { file: newFile(), limitBytes: 1000 }), RangeError);
  });

  for (const [program, args] of [
    ['tcpdump', ['--nano', '-n', '-e', '-t', '-r']],
    ['tshark', ['-r']],
  ] as const)
    test(`is read by ${program}`, async (t) => {
      const file = newFile();
      {
        await using guest = await boot(file);
        await talk(guest);
      }
      const { status, stdout, stderr, error } = spawnSync(program, [...args, file], { encoding: 'utf8' });
      if (error !== undefined) return t.skip(`${program} is not installed`);
      assert.equal(status, 0, stderr);
      assert.equal(stdout.match(/^52:54:.* length \d+|^ *\d+ +\d/gm)?.length, 6, stdout);
    });
});

test('regression: a file that cannot be made leaves no thread and no descriptor behind', async () => {
  const open = (): number => readdirSync('/proc/self/fd').length;
  const record = (): unknown => recordFrames(new RecordingPort(), { file: join(folder, 'none', 'a.pcapng') });
  assert.throws(record, { code: 'ENOENT' });
  // Those of earlier tests may be closed at any time.
  const before = open();
  for (let i = 0; i < 20; i++) assert.throws(record, { code: 'ENOENT' });
  await eventually('none is left', () => open() <= before);
});
