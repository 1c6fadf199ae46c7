// test/guest: a console of several ports, driven by a real Linux: /dev/hvc1, /dev/vport0p2 by its name, ports that come and go.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Duplex, duplexPair } from 'node:stream';
import { findUserModeLinux } from '../../guests/uml.ts';
import { ConsoleDevice, type ConsolePort, serve } from '../../src/index.ts';
import { eventually } from '../../src/testing/patience.ts';
import { startBelfry } from '../cli/belfry-process.ts';
import { runDeviceGuest } from './device-guest.ts';
import { type FindPeer, guestTest, testFolder } from './guest-case.ts';

const userModeLinux: FindPeer = (options) => findUserModeLinux({ ...options, withDevices: true });

const BYTES = 512 * 1024;
const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Prints the device file of the port with a name, if there is one. */
const NAMED = `
  named() {
    for port in /sys/class/virtio-ports/*; do
      [ "$(cat $port/name 2>/dev/null)" = "$1" ] && echo /dev/\${port##*/}
    done
  }
  there() { until [ "$(named $1)" ]; do sleep 0.1; done; }
  gone() { while [ "$(named $1)" ]; do sleep 0.1; done; }`;

async function take(end: Duplex, count: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let left = count; left > 0; ) {
    const [piece] = (await once(end, 'data')) as [Buffer];
    pieces.push(piece);
    left -= piece.length;
  }
  return Buffer.concat(pieces);
}

guestTest(
  'User-Mode Linux finds consoles and named ports, hears sizes, closings and comings, and its bytes are ours',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const socket = join(folder, 'con.sock');
    const [stream, mine] = duplexPair();
    const opened: boolean[] = [];
    const device = new ConsoleDevice({
      output() {},
      ports: [
        { name: 'shell', isConsole: true, size: { cols: 80, rows: 24 }, output() {} },
        { name: 'agent', stream, onOpen: (isOpen) => opened.push(isOpen) },
      ],
    });
    await using _served = serve(device, { vhostUser: socket, log: (line) => t.diagnostic(line) });
    const port = (name: string): ConsolePort => device.ports.find((one) => one.name === name) as ConsolePort;
    const sent = randomBytes(BYTES);
    mine.write(sent);
    const came = take(mine, BYTES);
    let seen = '';
    let hot: ConsolePort | undefined;
    const steps: Readonly<Record<string, () => unknown>> = {
      'window 24 80': () => port('shell').resize({ cols: 132, rows: 50 }),
      'the agent is read': () => port('agent').setOpen(false),
      'no hot port': () => {
        hot = device.addPort({ name: 'hot', output: (bytes) => (seen += new TextDecoder().decode(bytes)) });
      },
      'the hot port is written': () => eventually('its bytes', () => seen === 'hello\n').then(() => hot?.remove()),
      'the hot port is gone': () => device.addPort({ name: 'again' }),
    };
    const script = `${NAMED}
    there agent
    echo "names $(cat /sys/class/virtio-ports/*/name | tr '\\n' ' ')"
    exec 4<>$(named agent)
    head -c ${BYTES} <&4 >/tmp/came
    head -c ${BYTES} /dev/urandom >/tmp/goes
    echo "came $(sha256sum </tmp/came)"
    echo "goes $(sha256sum </tmp/goes)"
    cat /tmp/goes >&4
    exec 3<>/dev/hvc1
    echo "window $(stty size <&3)"
    until [ "$(stty size <&3)" = '50 132' ]; do sleep 0.1; done
    echo "window $(stty size <&3)"
    echo 'the agent is read'
    cat <&4
    echo 'the agent is closed'
    exec 4<&-
    [ "$(named hot)" ] || echo 'no hot port'
    there hot
    echo hello >$(named hot)
    echo 'the hot port is written'
    gone hot
    echo 'the hot port is gone'
    there again
    echo 'and another one came'`;
    const said = await runDeviceGuest(t, peer, {
      ...{ folder, words: [`virtio_uml.device=${socket}:3`], script },
      onLine: (line) => steps[line]?.(),
    });
    assert.match(said, /^names shell agent$/m, said);
    assert.match(said, new RegExp(`^came ${sumOf(sent)}`, 'm'));
    assert.match(said, new RegExp(`^goes ${sumOf(await came)}`, 'm'));
    assert.match(said, /^window 50 132$/m);
    assert.match(said, /^the agent is closed$/m);
    assert.match(said, /^the hot port is gone\nand another one came$/m);
    assert.deepEqual(opened.slice(0, 2), [true, false]);
  },
);

guestTest(
  'User-Mode Linux at `serve console --port`: a shell at hvc0, and a port at a socket',
  userModeLinux,
  async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const [socket, end, agent] = ['con.sock', 'end', 'agent'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const words = ['--console', `unix:${end}`, '--port', `agent=unix:${agent}`];
    await using served = startBelfry(['serve', 'console', '--socket', socket, ...words]);
    await served.says(/port agent at/);
    const shell = connect(end).setEncoding('utf8');
    t.after(() => shell.destroy());
    let shown = '';
    shell.on('data', (text) => {
      shown += text;
    });
    const client = connect(agent);
    t.after(() => client.destroy());
    client.write('to the guest\n');
    const answer = take(client, 'from the guest\n'.length);
    const script = `${NAMED}
    there agent
    exec 4<>$(named agent)
    read line <&4
    echo "read $line"
    echo 'from the guest' >&4
    setsid sh -c 'exec sh -i </dev/hvc0 >/dev/hvc0 2>&1'`;
    const booted = runDeviceGuest(t, peer, { folder, words: [`virtio_uml.device=${socket}:3`], script });
    const talked = (async () => {
      await eventually('a prompt', () => shown.includes('# '));
      shell.write('echo $((6 * 7)) answers\n');
      await eventually('the answer', () => shown.includes('42 answers'));
      shell.write('exit\n');
    })();
    const said = await Promise.race([booted, talked.then(() => booted)]);
    assert.match(said, /^read to the guest$/m);
    assert.equal((await answer).toString(), 'from the guest\n');
    served.kill('SIGTERM');
    assert.equal((await served.ended).code, 0);
  },
);
