// test/guest: network cards, driven by a real Linux: at a tap of the host's kernel, and from guest to guest.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { unpackedPackage } from '../../guests/debian-packages.ts';
import { type GuestPeer, PeerMissingError } from '../../guests/guest-peer.ts';
import { findExecutable } from '../../guests/guest-programs.ts';
import { findQemu } from '../../guests/qemu.ts';
import { findUserModeLinux } from '../../guests/uml.ts';
import { NetDevice, NetSwitch, serve } from '../../src/index.ts';
import { eventually } from '../../src/testing/patience.ts';
import { startBelfry } from '../cli/belfry-process.ts';
import { runDeviceGuest } from './device-guest.ts';
import { type FindPeer, guestTest, testFolder } from './guest-case.ts';

const qemu: FindPeer = (options) => findQemu({ ...options, withDevices: true });
const userModeLinux: FindPeer = (options) => findUserModeLinux({ ...options, withDevices: true });

const BYTES = 4 * 1024 * 1024;
const MAC = '52:54:00:be:1f:01';
const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const umlWord = (socket: string): string => `virtio_uml.device=${socket}:1`;
/** Without vectors: QEMU 7.2 without KVM ends with SIGSEGV when it starts a vhost-user network card with MSI-X. */
const qemuWords = (socket: string): string[] => [
  ...['-chardev', `socket,id=net,path=${socket}`, '-netdev', 'vhost-user,id=net,chardev=net'],
  ...['-device', `virtio-net-pci,netdev=net,mac=${MAC},vectors=0`],
];

/** The guest's card with an address. */
const up = (address: string): string => `
  ip link set lo up
  ip addr add ${address}/24 dev eth0
  ip link set eth0 up
  until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done`;

/** A command that runs the words after it in a network of its own, which has a tap. Skips where that is not allowed. */
function withTap(): string[] {
  const words = ['unshare', ...(process.getuid?.() === 0 ? ['-n'] : ['-Urn']), 'sh', '-c'];
  const setUp = 'ip tuntap add vm0 mode tap && ip addr add 10.7.0.1/24 dev vm0 && ip link set vm0 up && exec "$@"';
  const { status, stderr } = spawnSync(words[0] as string, [...words.slice(1), setUp, 'sh', 'true'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new PeerMissingError(`a network with a tap: ${stderr}`);
  return [...words, setUp, 'sh'];
}

/** The process `pid` and those it became by exec: runs a program in its network. */
const inNetworkOf = (pid: number): string[] => [
  'nsenter',
  '-t',
  `${pid}`,
  ...(process.getuid?.() === 0 ? [] : ['-U', '--preserve-credentials']),
  '-n',
];

async function tapTest(t: TestContext, peer: GuestPeer, wordsOf: (socket: string) => string[]): Promise<void> {
  const before = withTap();
  const folder = await testFolder(t, '/dev/shm');
  const socket = join(folder, 'net.sock');
  const args = ['serve', 'net', '--socket', socket, '--port', 'tap:vm0', '--mac', MAC, '--json'];
  await using served = startBelfry(args, { before });
  await served.says(/listening/);
  const sent = randomBytes(BYTES);
  writeFileSync(join(folder, 'sent'), sent);
  const onHost = (command: string): ReturnType<typeof spawn> => {
    const [file = '', ...words] = [...inNetworkOf(served.pid), 'busybox', 'sh', '-c', command];
    const child = spawn(file, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    return child;
  };
  onHost(`busybox httpd -f -p 5001 -h ${folder}`);
  let backSum: string | undefined;
  const fetchBack = async (): Promise<void> => {
    const fetch = onHost('busybox wget -q -O - http://10.7.0.2:5002/goes | sha256sum');
    const [sum] = (await once(fetch.stdout as Readable, 'data')) as [Buffer];
    backSum = sum.toString().split(' ')[0];
    writeFileSync(join(folder, 'fetched'), '');
  };
  const script = `${up('10.7.0.2')}
    echo "mac $(cat /sys/class/net/eth0/address)"
    ping -c 5 -i 0.2 -s 1400 10.7.0.1 | tail -n 3
    wget -q -O /tmp/came http://10.7.0.1:5001/sent
    echo "came $(sha256sum </tmp/came)"
    head -c ${BYTES} /dev/urandom >/tmp/goes
    echo "goes $(sha256sum </tmp/goes)"
    httpd -p 5002 -h /tmp
    echo serving
    until wget -q -O /dev/null http://10.7.0.1:5001/fetched 2>/dev/null; do sleep 0.1; done`;
  const onLine = (line: string): unknown => line === 'serving' && fetchBack();
  const said = await runDeviceGuest(t, peer, { folder, words: wordsOf(socket), script, onLine });
  assert.match(said, new RegExp(`^mac ${MAC}`, 'm'));
  assert.match(said, /5 packets transmitted, 5 packets received, 0% packet loss/);
  assert.match(said, new RegExp(`^came ${sumOf(sent)}`, 'm'));
  assert.match(said, new RegExp(`^goes ${backSum}`, 'm'));
  served.kill('SIGTERM');
  const { code, stdout } = await served.ended;
  assert.equal(code, 0);
  const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) as string);
  t.diagnostic(JSON.stringify(last));
  assert.ok(last.bytesRead > BYTES && last.bytesWritten > BYTES);
}

guestTest(
  'User-Mode Linux pings the host over a tap, and moves 4 MiB each way, byte for byte',
  userModeLinux,
  (t, peer) => tapTest(t, peer, (socket) => [umlWord(socket)]),
);

guestTest('QEMU’s Linux pings the host over a tap, and moves 4 MiB each way, byte for byte', qemu, (t, peer) =>
  tapTest(t, peer, qemuWords),
);

/** A guest with a network card. */
interface Station {
  readonly peer: GuestPeer;
  /** What its VMM is told of the card. */
  readonly words: readonly string[];
}

const umlAt = (peer: GuestPeer, socket: string): Station => ({ peer, words: [umlWord(socket)] });

/** One guest waits for a file of the other, and both print its checksum. */
async function twoGuests(t: TestContext, [a, b]: readonly [Station, Station]): Promise<void> {
  const receiver = runDeviceGuest(t, a.peer, {
    folder: await testFolder(t, '/dev/shm'),
    words: a.words,
    script: `${up('10.8.0.1')}
    nc -l -p 5001 >/tmp/came
    echo "came $(sha256sum </tmp/came) $(wc -c </tmp/came)"`,
  });
  const sender = runDeviceGuest(t, b.peer, {
    folder: await testFolder(t, '/dev/shm'),
    words: b.words,
    script: `${up('10.8.0.2')}
    until ping -c 1 -W 1 10.8.0.1 >/dev/null; do echo waiting; done
    head -c ${BYTES} /dev/urandom >/tmp/goes
    echo "goes $(sha256sum </tmp/goes) $(wc -c </tmp/goes)"
    until nc 10.8.0.1 5001 </tmp/goes; do sleep 1; done`,
  });
  const [came, goes] = await Promise.all([receiver, sender]);
  const [, sum] = new RegExp(`^came (\\w+) +- ${BYTES}`, 'm').exec(came) ?? [];
  assert.ok(sum !== undefined, came);
  assert.match(goes, new RegExp(`^goes ${sum} +- ${BYTES}`, 'm'));
}

guestTest(
  'two User-Mode Linux on a switch in one process: 4 MiB from one to the other',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const lan = new NetSwitch();
    const devices = [0, 1].map(() => new NetDevice({ port: lan.port() }));
    const sockets = [join(folder, '0.sock'), join(folder, '1.sock')] as const;
    const servers = devices.map((device, i) =>
      serve(device, { vhostUser: sockets[i] as string, log: (line) => t.diagnostic(line) }),
    );
    await twoGuests(t, [umlAt(peer, sockets[0]), umlAt(peer, sockets[1])]);
    for (const server of servers) await server.close();
    for (const { counters } of devices) t.diagnostic(JSON.stringify(counters));
    assert.ok((devices[1] as NetDevice).counters.sentBytes > BYTES);
    assert.equal(lan.addresses, 2);
  },
);

guestTest(
  'two User-Mode Linux at two daemons that a stream socket joins: 4 MiB from one to the other',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const sockets = [join(folder, '0.sock'), join(folder, '1.sock')] as const;
    const cable = join(folder, 'cable');
    await using first = startBelfry(['serve', 'net', `listen:${cable}`, '--socket', sockets[0]]);
    await first.says(/Serving/);
    await using second = startBelfry(['serve', 'net', '--port', `stream:${cable}`, '--socket', sockets[1]]);
    await second.says(/Serving/);
    await twoGuests(t, [umlAt(peer, sockets[0]), umlAt(peer, sockets[1])]);
    for (const served of [second, first]) {
      served.kill('SIGTERM');
      assert.equal((await served.ended).code, 0);
    }
  },
);

guestTest(
  'User-Mode Linux sees the link go down and up, takes the MTU, and sets its address by the control queue',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const vhostUser = join(folder, 'net.sock');
    const device = new NetDevice({ mac: MAC, mtu: 1400, port: { send: () => true } });
    await using _served = serve(device, { vhostUser, log: (line) => t.diagnostic(line) });
    const script = `${up('10.9.0.2')}
    echo "mtu $(cat /sys/class/net/eth0/mtu)"
    until [ "$(cat /sys/class/net/eth0/carrier)" = 0 ]; do sleep 0.1; done
    echo "carrier 0"
    until [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done
    echo "carrier 1"
    ip link set eth0 down
    ip link set eth0 address 52:54:00:be:1f:02
    ip link set eth0 up
    ip link set eth0 promisc on
    ip link set eth0 promisc off
    echo "mac $(cat /sys/class/net/eth0/address)"`;
    const said = await runDeviceGuest(t, peer, {
      folder,
      words: [umlWord(vhostUser)],
      script,
      onLine: (line) => {
        if (/^mtu /.test(line)) device.setLink(false);
        if (/^carrier 0/.test(line)) device.setLink(true);
      },
    });
    assert.match(said, /^mtu 1400$/m);
    assert.match(said, /^carrier 0$/m);
    assert.match(said, /^carrier 1$/m);
    assert.match(said, /^mac 52:54:00:be:1f:02$/m);
    assert.doesNotMatch(said, /Failed to set/, 'every command of the control queue succeeded');
    t.diagnostic(JSON.stringify(device.counters));
  },
);

guestTest(
  'QEMU’s own network card, at its own stream socket, and User-Mode Linux at ours: 4 MiB from one to the other',
  userModeLinux,
  async (t, peer) => {
    const other = await qemu({ note: (line) => t.diagnostic(line), fetch: process.env.BELFRY_NO_APT !== '1' });
    const folder = await testFolder(t, '/dev/shm');
    const [socket, cable] = [join(folder, 'net.sock'), join(folder, 'cable')];
    await using served = startBelfry(['serve', 'net', `listen:${cable}`, '--socket', socket]);
    await served.says(/Serving/);
    const netdev = `stream,id=net,server=off,addr.type=unix,addr.path=${cable}`;
    const theirs = { peer: other, words: ['-netdev', netdev, '-device', 'virtio-net-pci,netdev=net'] };
    await twoGuests(t, [umlAt(peer, socket), theirs]);
    served.kill('SIGTERM');
    assert.equal((await served.ended).code, 0);
  },
);

/** A passt that is installed, or unpacked in the cache. */
async function findPasst(t: TestContext): Promise<string> {
  const options = { note: (line: string) => t.diagnostic(line), fetch: process.env.BELFRY_NO_APT !== '1' };
  const installed = await findExecutable('passt');
  const program = installed ?? (await findExecutable('passt', await unpackedPackage('passt', () => false, options)));
  if (program === undefined) throw new PeerMissingError('passt is not installed: apt-get install passt');
  return program;
}

/** The guest gets an address by DHCP, and a file from the host at `port`. */
const dhcpScript = (port: number): string => `
      cat >/tmp/dhcp <<'END'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev eth0
ip route add default via $router
echo "lease $ip $router"
echo $router >/tmp/router
END
      chmod +x /tmp/dhcp
      ip link set eth0 up
      udhcpc -i eth0 -s /tmp/dhcp -n -q
      wget -q -O /tmp/came http://$(cat /tmp/router):${port}/
      echo "came $(sha256sum </tmp/came)"`;

guestTest(
  'passt: User-Mode Linux gets an address by DHCP, and 4 MiB from this process, without a tap',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    // Started by root, passt becomes nobody.
    chmodSync(folder, 0o777);
    const [socket, passtSocket] = [join(folder, 'net.sock'), join(folder, 'passt.sock')];
    const passt = spawn(await findPasst(t), ['--foreground', '--socket', passtSocket], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.after(() => passt.kill('SIGKILL'));
    let said = '';
    for (const stream of [passt.stdout, passt.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        said += text;
      });
    await eventually('passt listens', () => existsSync(passtSocket) || passt.exitCode !== null);
    if (passt.exitCode !== null)
      throw new PeerMissingError(`passt does not run here: ${said.trim().split('\n').at(-1)}`);
    const bytes = randomBytes(BYTES);
    const web = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
    t.after(() => web.close());
    await once(web, 'listening');
    const { port } = web.address() as AddressInfo;
    await using served = startBelfry(['serve', 'net', '--port', `stream:${passtSocket}`, '--socket', socket]);
    await served.says(/Serving/);
    const output = await runDeviceGuest(t, peer, { folder, words: [umlWord(socket)], script: dhcpScript(port) });
    assert.match(output, /^lease \d+\.\d+\.\d+\.\d+ /m);
    assert.match(output, new RegExp(`^came ${sumOf(bytes)}`, 'm'));
  },
);

guestTest(
  'serve net user: a passt is started; User-Mode Linux gets an address by DHCP, and 4 MiB; both end together',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    chmodSync(folder, 0o777);
    const socket = join(folder, 'net.sock');
    const bin = join(await findPasst(t), '..');
    const bytes = randomBytes(BYTES);
    const web = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
    t.after(() => web.close());
    await once(web, 'listening');
    const { port } = web.address() as AddressInfo;
    const env = { PATH: `${bin}:${process.env.PATH}`, TMPDIR: folder };
    await using served = startBelfry(['serve', 'net', 'user', '--socket', socket], { env });
    const outcome = await Promise.race([served.says(/Serving/), served.ended]);
    if ('stderr' in outcome) throw new PeerMissingError(`passt does not run here: ${outcome.stderr}`);
    const output = await runDeviceGuest(t, peer, { folder, words: [umlWord(socket)], script: dhcpScript(port) });
    assert.match(output, /^lease \d+\.\d+\.\d+\.\d+ /m);
    assert.match(output, new RegExp(`^came ${sumOf(bytes)}`, 'm'));
    served.kill('SIGTERM');
    assert.equal((await served.ended).code, 0);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('belfry-passt-')),
      [],
    );
  },
);
