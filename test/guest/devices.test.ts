// test/guest: devices that are no disks, driven by a real Linux: its /dev/hwrng and its /dev/hvc0.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { findQemu } from '../../guests/qemu.ts';
import { findUserModeLinux } from '../../guests/uml.ts';
import { ConsoleDevice, serve } from '../../src/index.ts';
import { startBelfry } from '../cli/belfry-process.ts';
import { runDeviceGuest } from './device-guest.ts';
import { FIPS_BYTES, failedFipsTests } from './fips-140-2.ts';
import { type FindPeer, guestTest, testFolder } from './guest-case.ts';

const qemu: FindPeer = (options) => findQemu({ ...options, withDevices: true });
const userModeLinux: FindPeer = (options) => findUserModeLinux({ ...options, withDevices: true });

const BYTES = 512 * 1024;
const FIPS_BLOCKS = 4;
const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Reads from a client of the console until it has so much. */
async function take(client: Socket, count: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let left = count; left > 0; ) {
    const [piece] = (await once(client, 'data')) as [Buffer];
    pieces.push(piece);
    left -= piece.length;
  }
  return Buffer.concat(pieces);
}

guestTest('QEMU’s Linux draws random numbers from /dev/hwrng', qemu, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const socket = join(folder, 'rng.sock');
  const args = ['serve', 'rng', '--socket', socket, '--json', '--limit', 'bps=1M,burst=0.1'];
  await using served = startBelfry(args);
  await served.says(/listening/);
  const words = ['-chardev', `socket,id=rng,path=${socket}`, '-device', 'vhost-user-rng-pci,chardev=rng'];
  const script = `
    echo "current $(cat /sys/class/misc/hw_random/rng_current)"
    head -c ${BYTES} /dev/hwrng >/tmp/random
    echo "bytes $(wc -c </tmp/random) packed $(gzip -c /tmp/random | wc -c)"
    head -c ${FIPS_BLOCKS * FIPS_BYTES} /tmp/random | od -An -v -tx1 -w50 | sed 's/^/hex/'
    stty sane`; // It waits until all that was printed has been sent.
  const said = await runDeviceGuest(t, peer, { folder, words, script });
  assert.match(said, /^current virtio_rng\.0$/m);
  const [, bytes, packed] = /^bytes (\d+) packed (\d+)$/m.exec(said) ?? [];
  assert.equal(Number(bytes), BYTES, said);
  assert.ok(Number(packed) > BYTES, `random bytes do not get smaller: ${packed}`);
  const random = Buffer.from(
    said
      .match(/(?<=^hex).*/gm)
      ?.join('')
      .replaceAll(' ', '') ?? '',
    'hex',
  );
  assert.equal(random.length, FIPS_BLOCKS * FIPS_BYTES);
  const failed = Array.from({ length: FIPS_BLOCKS }, (_, i) => failedFipsTests(random.subarray(i * FIPS_BYTES)));
  // One block may fail by chance: 1 of 1250 does. Two of four: about one run in 260,000.
  assert.ok(failed.filter((names) => names.length > 0).length <= 1, JSON.stringify(failed));
  assert.ok(failedFipsTests(new Uint8Array(FIPS_BYTES)).length === 4, 'zeroes are found out');
  served.kill('SIGTERM');
  const { code, stdout } = await served.ended;
  assert.equal(code, 0);
  assert.ok(JSON.parse(stdout.trimEnd().split('\n').at(-1) as string).requests > 0);
});

guestTest(
  'User-Mode Linux reads and writes /dev/hvc0, byte for byte, in both directions',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const socket = join(folder, 'con.sock');
    await using served = startBelfry(['serve', 'console', '--socket', socket, '--listen', join(folder, 'end')]);
    await served.says(/Serving/);
    const client = connect(join(folder, 'end'));
    t.after(() => client.destroy());
    const sent = randomBytes(BYTES);
    const script = `
    exec 3<>/dev/hvc0
    stty raw -echo <&3
    echo ready >&3
    head -c ${BYTES} <&3 >/tmp/came
    head -c ${BYTES} /dev/urandom >/tmp/goes
    echo "came $(sha256sum </tmp/came)"
    echo "goes $(sha256sum </tmp/goes)"
    cat /tmp/goes >&3
    head -c 1 <&3 >/dev/null`;
    const booted = runDeviceGuest(t, peer, { folder, words: [`virtio_uml.device=${socket}:3`], script });
    const talked = (async () => {
      assert.equal((await take(client, 6)).toString(), 'ready\n');
      client.write(sent);
      const came = await take(client, BYTES);
      client.write('.');
      return came;
    })();
    const said = await Promise.race([booted, talked.then(() => booted)]);
    assert.match(said, new RegExp(`^came ${sumOf(sent)}`, 'm'));
    assert.match(said, new RegExp(`^goes ${sumOf(await talked)}`, 'm'));
    served.kill('SIGTERM');
    assert.equal((await served.ended).code, 0);
  },
);

guestTest('User-Mode Linux is notified of a new window size of /dev/hvc0', userModeLinux, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const socket = join(folder, 'con.sock');
  const output = (): void => device.resize({ cols: 132, rows: 50 });
  const device = new ConsoleDevice({ output, size: { cols: 80, rows: 24 } });
  await using _served = serve(device, { vhostUser: socket, log: (line) => t.diagnostic(line) });
  const script = `
    exec 3<>/dev/hvc0
    echo ready >&3
    until [ "$(stty size <&3)" = '50 132' ]; do sleep 0.1; done
    echo "window $(stty size <&3)"`;
  const said = await runDeviceGuest(t, peer, { folder, words: [`virtio_uml.device=${socket}:3`], script });
  assert.match(said, /^window 50 132$/m);
});
