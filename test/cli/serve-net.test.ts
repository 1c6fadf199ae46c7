// test/cli: `serve net`: wrong uses get one line and leave nothing behind; the port is there before a VM is.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPcapng } from '../reference/pcapng-reader.ts';
import { belfry, startBelfry, testFolder } from './belfry-process.ts';

const USAGE = 2;
const FAILURE = 1;
const LONG = 'x'.repeat(110);

const refused: readonly [string, args: readonly string[], code: number, RegExp][] = [
  ['no port', [], USAGE, /--port tap:NAME, packet:NAME, stream:PATH, listen:PATH or user is needed/],
  ['two ports', ['tap:a', '--port', 'tap:b'], USAGE, /tap:a and --port tap:b: a network card has one port/],
  [
    'a port of no kind',
    ['--port', 'vm0'],
    USAGE,
    /--port: "vm0" is not a port; tap:NAME, packet:NAME, stream:PATH or listen:PATH/,
  ],
  ['a kind that does not exist', ['--port', 'bridge:br0'], USAGE, /"bridge:br0" is not a port/],
  ['a tap without a name', ['--port', 'tap:'], USAGE, /the name of an interface has 1 to 15 bytes, this one has 0/],
  ['a tap with a long name', ['--port', 'tap:sixteen-letters-'], USAGE, /1 to 15 bytes, this one has 16/],
  ['a tap with a pattern for a name', ['--port', 'tap:vm%d'], USAGE, /no space, "\/", ":" or "%"/],
  [
    'an interface that is no tap',
    ['--port', 'tap:lo'],
    FAILURE,
    /TUNSETIFF: E\w+: lo .*ip tuntap add|open: E\w+: \/dev\/net\/tun/,
  ],
  ['a packet socket without a name', ['--port', 'packet:'], USAGE, /packet:: the name of an interface has 1 to 15/],
  [
    'a packet socket on an interface that is not there',
    ['--port', 'packet:none7'],
    FAILURE,
    /ENODEV: there is no interface none7: "ip link" lists them/,
  ],
  ['a stream without a path', ['--port', 'stream:'], USAGE, /a socket path has 1 to 107 bytes, this one has 0/],
  ['a path that is too long', ['--port', `stream:${LONG}`], USAGE, /1 to 107 bytes, this one has 110/],
  [
    'a socket path that is too long',
    ['--port', 'tap:a', '--socket', LONG],
    USAGE,
    /--socket: a socket path has at most 107/,
  ],
  ['a stream that nothing listens at', ['--port', 'stream:none'], FAILURE, /connect: ENOENT: none/],
  ['a file that is no socket', ['--port', 'stream:file'], FAILURE, /connect: ECONNREFUSED: file/],
  ['a file where a socket is to be', ['--port', 'listen:file'], FAILURE, /EEXIST: file exists and is not a socket/],
  [
    'a folder that is not there',
    ['--port', 'listen:none/cable'],
    FAILURE,
    /ENOENT: none\/cable: does the folder none exist/,
  ],
  ['an MTU that is too small', ['--port', 'tap:a', '--mtu', '67'], USAGE, /--mtu.*whole number from 68 to 65535/],
  ['an MTU that is too large', ['--port', 'tap:a', '--mtu', '65536'], USAGE, /--mtu.*whole number from 68 to 65535/],
  ['an MTU in words', ['--port', 'tap:a', '--mtu', 'large'], USAGE, /--mtu.*whole number from 68 to 65535/],
  [
    'a multicast address',
    ['--port', 'tap:a', '--mac', '01:00:5e:00:00:01'],
    USAGE,
    /--mac: 01:00:5e:00:00:01 is a multicast/,
  ],
  [
    'the zero address',
    ['--port', 'tap:a', '--mac', '00:00:00:00:00:00'],
    USAGE,
    /--mac: the MAC address of no card is/,
  ],
  [
    'a recording in a folder that is not there',
    ['--port', 'listen:cable', '--pcap', 'none/file'],
    FAILURE,
    /ENOENT.*none\/file/,
  ],
  ['a limit of requests', ['--port', 'tap:a', '--limit', 'iops=5'], USAGE, /write pps=1000 or bps=10M or burst=2/],
  ['a limit of no frames', ['--port', 'tap:a', '--limit-send', 'pps=0'], USAGE, /--limit-send.*pps=0: a whole number/],
  ['a burst alone', ['--port', 'tap:a', '--limit-receive', 'burst=2'], USAGE, /--limit-receive.*add pps or bps/],
  ['a recording on a device', ['--port', 'listen:cable', '--pcap', '/dev/null'], FAILURE, /not a regular file/],
  [
    'a recording of a few bytes',
    ['--port', 'tap:a', '--pcap', 'a', '--pcap-limit', '5K'],
    USAGE,
    /--pcap-limit.* at least 128K/,
  ],
  ['a passt under a supervisor', ['--port', 'user', '--supervise'], USAGE, /user: with --supervise .*stream:PATH/],
  ['a recording under a supervisor', ['--port', 'tap:a', '--pcap', 'a', '--supervise'], USAGE, /--pcap: .*--supervise/],
  [
    'an address that is none',
    ['--port', 'tap:a', '--mac', '52:54:00'],
    USAGE,
    /--mac: "52:54:00" is not a MAC address; six bytes like/,
  ],
];

for (const [name, args, code, what] of refused) {
  test(`serve net refuses ${name}`, async (t) => {
    const cwd = testFolder(t);
    writeFileSync(join(cwd, 'file'), '');
    const socket = args.includes('--socket') ? [] : ['--socket', 'sock'];
    const ended = await belfry(['serve', 'net', ...socket, ...args], { cwd });
    assert.match(ended.stderr, /^belfry: [^\n]+\n$/, 'one line on standard error');
    assert.match(ended.stderr, what);
    assert.deepEqual([ended.code, ended.stdout], [code, '']);
    assert.equal(existsSync(join(cwd, 'sock')), false, 'a socket was left behind');
  });
}

test('serve net user without passt: one line that says what to install', async (t) => {
  const ended = await belfry(['serve', 'net', 'user', '--socket', 'sock'], {
    cwd: testFolder(t),
    env: { PATH: '/none' },
  });
  assert.equal(ended.code, FAILURE);
  assert.match(ended.stderr, /^belfry: user: passt is not installed: "apt-get install passt", or take a tap\n$/);
});

test('regression: serve net user says why passt ended, though its last line comes after its end', async (t) => {
  const cwd = testFolder(t);
  writeFileSync(join(cwd, 'passt'), '#!/bin/sh\n(sleep 0.3; echo "no interface has a route" >&2) &\nexit 1\n', {
    mode: 0o755,
  });
  const ended = await belfry(['serve', 'net', 'user', '--socket', 'sock'], {
    cwd,
    env: { PATH: `${cwd}:${process.env.PATH}` },
  });
  assert.equal(ended.code, FAILURE);
  assert.equal(ended.stderr, 'belfry: user: passt ended: no interface has a route\n');
});

test('regression: a passt that ends while its card is served is named', async (t) => {
  const cwd = testFolder(t);
  const passt = `#!${process.execPath}
const [, socket, , pidFile] = process.argv.slice(-4);
const { existsSync, writeFileSync } = require('node:fs');
require('node:net').createServer(() => {}).listen(socket, () => writeFileSync(pidFile, '1'));
setInterval(() => existsSync('end') && (console.error('out of luck'), process.exit(1)), 20);
`;
  writeFileSync(join(cwd, 'passt'), passt, { mode: 0o755 });
  const env = { PATH: `${cwd}:${process.env.PATH}` };
  await using serving = startBelfry(['serve', 'net', 'user', '--socket', 'sock'], { cwd, env });
  await serving.says(/Serving/);
  writeFileSync(join(cwd, 'end'), '');
  await serving.complains(/^belfry: user: passt ended: out of luck; the guest has no network: start this again$/m);
});

test('serve net refuses a packet socket where it may not make one, and says who may', async (t) => {
  const before = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw'] : [];
  const ended = await belfry(['serve', 'net', 'packet:lo', '--socket', 'sock'], { cwd: testFolder(t), before });
  assert.equal(ended.code, FAILURE);
  assert.match(ended.stderr, /^belfry: socket: EPERM: packet:lo needs CAP_NET_RAW: .*\n$/);
});

test('serve net refuses a tap that is not there where it may not make one, and says how it is made', async (t) => {
  const isRoot = process.getuid?.() === 0;
  const before = isRoot ? ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'] : [];
  const { code, stderr } = await belfry(['serve', 'net', 'tap:vm77', '--socket', 'sock'], {
    cwd: testFolder(t),
    before,
  });
  assert.equal(code, FAILURE);
  assert.match(
    stderr,
    /^belfry: (TUNSETIFF: EPERM: there is no tap vm77: "ip tuntap add vm77 mode tap user \$USER" as root makes one for you|open: E\w+: \/dev\/net\/tun: .*)\n$/,
  );
});

test('serve net listens at its port and at its socket, says what it serves, and leaves neither behind', async (t) => {
  const cwd = testFolder(t);
  const args = [
    'serve',
    'net',
    'listen:cable',
    '--socket',
    'sock',
    '--mac',
    '52:54:00:AB:00:01',
    '--json',
    '--pcap',
    'cable.pcapng',
    '--limit',
    'pps=1000,bps=1M',
  ];
  await using served = startBelfry(args, { cwd });
  const [line] = await served.says(/^.*"listening".*$/m);
  const { name, type, queues } = JSON.parse(line);
  assert.deepEqual([name, type, queues], ['listen:cable as 52:54:00:ab:00:01', 1, 3]);
  // A peer without a guest: its frames are dropped and counted, and it may leave.
  const peer = connect(join(cwd, 'cable'));
  const frame = new Uint8Array(64).with(3, 60);
  await new Promise((resolve) => peer.write(frame, resolve));
  peer.end();
  await served.says(
    /the connection at cable ended, and the link is down: the peer closed it; the next client is waited for/,
  );
  served.kill('SIGTERM');
  const { code, stdout } = await served.ended;
  assert.equal(code, 0);
  assert.equal(JSON.parse(stdout.trimEnd().split('\n').at(-1) as string).droppedFrames, 1);
  const recorded = readPcapng(readFileSync(join(cwd, 'cable.pcapng')));
  assert.deepEqual(
    recorded.frames.map(({ direction, frame }) => [direction, frame.length]),
    [['in', 60]],
  );
  assert.deepEqual(recorded.counts, { received: 1n, dropped: 0n });
  assert.deepEqual([existsSync(join(cwd, 'sock')), existsSync(join(cwd, 'cable'))], [false, false]);
});
