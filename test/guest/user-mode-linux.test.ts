// test/guest: User-Mode Linux on our disks. It boots in a second, so most combinations are tried with it.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { runGuest } from '../../guests/run-guest.ts';
import { findUserModeLinux } from '../../guests/uml.ts';
import { makeImage, startBackEnd } from './back-end.ts';
import { checkFromHost, digestOf, expectGuest, guestTest, silenceMs, testFolder } from './guest-case.ts';

const MIB = 2 ** 20;

guestTest('User-Mode Linux partitions, formats and checks a disk in memory', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  await using daemon = await startBackEnd({ store: 'mem:256M', folder, serial: 'twenty-characters-20' });
  const report = await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'format-write-verify' });
  const expected = { serial: daemon.serial, sizeBytes: 256 * MIB, logicalBlockBytes: 512, readOnly: false };
  assert.deepEqual(report.disks, [{ name: 'vda', queues: 1, ...expected }]);
  await daemon.stop();
});

guestTest(
  'User-Mode Linux finds its files after the daemon was stopped and started',
  findUserModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const store = await makeImage(folder, 256);
    for (const scenario of ['format-write-verify', 'verify-only', 'verify-only'] as const) {
      await using daemon = await startBackEnd({ store, folder });
      await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario });
      await daemon.stop();
      await checkFromHost(t, store);
    }
  },
);

guestTest('User-Mode Linux boots twice on one daemon that keeps running', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  await using daemon = await startBackEnd({ store: 'mem:128M', folder });
  await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'format-write-verify', dataMiB: 4 });
  await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'verify-only' });
  await daemon.stop();
});

guestTest(
  'User-Mode Linux reads a read-only disk and cannot change a byte of it',
  findUserModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/var/tmp');
    const store = await makeImage(folder, 128);
    {
      await using daemon = await startBackEnd({ store, folder });
      await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'format-write-verify', dataMiB: 4 });
      await daemon.stop();
    }
    const before = await digestOf(store);
    await using daemon = await startBackEnd({ store, folder, readOnly: true });
    const report = await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'read-only' });
    assert.equal(report.disks[0]?.readOnly, true);
    await daemon.stop();
    assert.equal(await digestOf(store), before);
  },
);

guestTest('User-Mode Linux uses the whole of a regular file without partitions', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/var/tmp');
  const store = await makeImage(folder, 256);
  await using daemon = await startBackEnd({ store, folder });
  const run = { sockets: [daemon.socketPath], scenario: 'format-write-verify', partition: false } as const;
  await expectGuest(t, peer, run);
  await daemon.stop();
  await checkFromHost(t, store);
});

guestTest('User-Mode Linux works in blocks of 4096 bytes', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const store = await makeImage(folder, 128);
  await using daemon = await startBackEnd({ store, folder, blockSizeBytes: 4096 });
  const report = await expectGuest(t, peer, {
    sockets: [daemon.socketPath],
    scenario: 'format-write-verify',
    dataMiB: 4,
  });
  assert.equal(report.disks[0]?.logicalBlockBytes, 4096);
  await daemon.stop();
  await checkFromHost(t, store, 4096);
});

guestTest('User-Mode Linux drives two disks of two daemons', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  await using small = await startBackEnd({ store: 'mem:64M', folder });
  await using large = await startBackEnd({ store: 'mem:128M', folder });
  const sockets = [small.socketPath, large.socketPath];
  const report = await expectGuest(t, peer, { sockets, scenario: 'format-write-verify', dataMiB: 4 });
  assert.deepEqual(
    report.disks.map((disk) => disk.sizeBytes),
    [64 * MIB, 128 * MIB],
  );
  await small.stop();
  await large.stop();
});

guestTest('User-Mode Linux notices when its files were changed behind its back', findUserModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const store = await makeImage(folder, 64);
  {
    await using daemon = await startBackEnd({ store, folder });
    await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'format-write-verify', dataMiB: 4 });
    await daemon.stop();
  }
  assert.ok((await flipRandomBlocks(store)) >= 8 * MIB, 'the content is in the image');
  await using daemon = await startBackEnd({ store, folder });
  const run = { sockets: [daemon.socketPath], scenario: 'verify-only' } as const;
  const report = await runGuest(peer, { ...run, silenceMs, signal: t.signal });
  assert.deepEqual([report.ok, report.steps.at(-1)?.name], [false, 'compare'], report.consoleTail.join('\n'));
  await daemon.stop();
});

// Random content uses most byte values, the file system's own blocks few. Returns how many bytes lie in such blocks.
async function flipRandomBlocks(image: string): Promise<number> {
  const bytes = await readFile(image);
  let flipped = 0;
  for (let offset = 0; offset < bytes.length; offset += 4096) {
    if (new Set(bytes.subarray(offset, offset + 4096)).size < 200) continue;
    bytes[offset + 2048]! ^= 1;
    flipped += 4096;
  }
  await writeFile(image, bytes);
  return flipped;
}
