// test/guest: QEMU with a stock Debian kernel on our disks: PCI, several CPUs, several queues.
import assert from 'node:assert/strict';
import { findQemu } from '../../guests/qemu.ts';
import { makeImage, startBackEnd } from './back-end.ts';
import { checkFromHost, digestOf, expectGuest, guestTest, testFolder } from './guest-case.ts';

guestTest(
  'QEMU finds its files in a regular file after the daemon was stopped and started',
  findQemu,
  async (t, peer) => {
    const folder = await testFolder(t, '/var/tmp');
    const store = await makeImage(folder, 256);
    for (const scenario of ['format-write-verify', 'verify-only'] as const) {
      await using daemon = await startBackEnd({ store, folder });
      const report = await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario });
      assert.equal(report.disks[0]?.queues, 1);
      assert.equal(report.disks[0]?.serial, daemon.serial);
      await daemon.stop();
      await checkFromHost(t, store);
    }
  },
);

guestTest('QEMU uses four queues from four CPUs, then the disk read-only', findQemu, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const store = await makeImage(folder, 256);
  {
    await using daemon = await startBackEnd({ store, folder });
    const run = { sockets: [daemon.socketPath], scenario: 'format-write-verify', queues: 4 } as const;
    const report = await expectGuest(t, peer, run);
    assert.equal(report.disks[0]?.queues, 4);
    await daemon.stop();
  }
  await checkFromHost(t, store);
  const before = await digestOf(store);
  await using daemon = await startBackEnd({ store, folder, readOnly: true });
  const report = await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'read-only', queues: 4 });
  assert.equal(report.disks[0]?.readOnly, true);
  await daemon.stop();
  assert.equal(await digestOf(store), before);
});

guestTest('QEMU formats a disk in memory', findQemu, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  await using daemon = await startBackEnd({ store: 'mem:128M', folder });
  await expectGuest(t, peer, { sockets: [daemon.socketPath], scenario: 'format-write-verify', dataMiB: 4, queues: 2 });
  await daemon.stop();
});
