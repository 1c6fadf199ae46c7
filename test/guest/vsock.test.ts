// test/guest: vsock, driven by a real Linux with socat: bytes both ways, many connections, a daemon that is started again.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type GuestProgram, programsWithLibraries } from '../../guests/guest-programs.ts';
import { findQemu } from '../../guests/qemu.ts';
import { serve, VsockDevice, VsockHost } from '../../src/index.ts';
import { startBelfry } from '../cli/belfry-process.ts';
import { runDeviceGuest } from './device-guest.ts';
import { type FindPeer, guestTest, testFolder } from './guest-case.ts';

const SOCAT: GuestProgram = { name: 'socat', debianPackage: 'socat', guestPath: 'bin/socat' };
const qemu: FindPeer = (options) => findQemu({ ...options, withDevices: true });
const BYTES = 2 * 1024 * 1024;
const CONNECTIONS = 200;
const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const wordsOf = (socket: string): string[] => [
  ...['-chardev', `socket,id=vsock,path=${socket}`],
  ...['-device', 'vhost-user-vsock-pci,chardev=vsock'],
];
const programs = () => programsWithLibraries([SOCAT], { fetch: process.env.BELFRY_NO_APT !== '1' });

guestTest(
  `QEMU’s Linux: ${BYTES} bytes there and back, ${CONNECTIONS} short connections, a call by the host, over UNIX sockets; twice`,
  qemu,
  async (t, peer) => {
    const files = await programs();
    for (const round of [1, 2]) {
      const folder = await testFolder(t, '/dev/shm');
      const [socket, uds] = [join(folder, 'vsock.sock'), join(folder, 'vm')];
      await using served = startBelfry(['serve', 'vsock', '--cid', '3', '--uds', uds, '--socket', socket, '--json']);
      await served.says(/listening/);
      let echoed = 0;
      const echo = createServer((client) => {
        echoed++;
        client.on('error', () => {}).pipe(client);
      }).listen(`${uds}_1234`);
      t.after(() => echo.close());
      await once(echo, 'listening');
      const sent = randomBytes(BYTES);
      let answer: Promise<string> | undefined;
      const call = async (): Promise<string> => {
        const client = connect(uds);
        client.write('CONNECT 99\n');
        client.end(sent);
        const bytes = Buffer.concat(await client.toArray());
        const line = bytes.indexOf(10);
        return `${bytes.subarray(0, line)} ${bytes
          .subarray(line + 1)
          .toString()
          .trim()}`;
      };
      const script = `
      head -c ${BYTES} /dev/urandom >/tmp/goes
      socat -t 60 - VSOCK-CONNECT:2:1234 </tmp/goes >/tmp/came
      echo "goes $(sha256sum </tmp/goes)"
      echo "came $(sha256sum </tmp/came)"
      i=0; good=0
      while [ $i -lt ${CONNECTIONS} ]; do
        i=$((i+1))
        [ "$(echo $i | socat -t 60 - VSOCK-CONNECT:2:1234)" = $i ] && good=$((good+1))
      done
      echo "good $good"
      socat - VSOCK-CONNECT:2:4321 </dev/null 2>&1 | tail -n 1
      socat -t 60 VSOCK-LISTEN:99 EXEC:'/bin/busybox sha256sum' &
      sleep 1
      echo listening
      wait`;
      const onLine = (line: string): void => {
        if (line === 'listening') answer = call();
      };
      const said = await runDeviceGuest(t, peer, { folder, words: wordsOf(socket), script, onLine, files });
      const [, sum] = /^goes (\w+)/m.exec(said) ?? [];
      assert.ok(sum !== undefined, said);
      assert.match(said, new RegExp(`^came ${sum}`, 'm'), `round ${round}`);
      assert.match(said, new RegExp(`^good ${CONNECTIONS}$`, 'm'));
      assert.match(said, /Connection reset by peer/);
      assert.match((await answer) ?? '', new RegExp(`^OK \\d+ ${sumOf(sent)}`));
      assert.equal(echoed, CONNECTIONS + 1);
      served.kill('SIGTERM');
      const { code, stdout } = await served.ended;
      assert.equal(code, 0);
      t.diagnostic(stdout.trimEnd().split('\n').at(-1) as string);
    }
  },
);

guestTest('QEMU’s Linux and a script: listen and connect, as streams of Node’s', qemu, async (t, peer) => {
  const folder = await testFolder(t, '/dev/shm');
  const vhostUser = join(folder, 'vsock.sock');
  const host = new VsockHost();
  const errors: string[] = [];
  host.listen(1, (socket) => socket.on('error', ({ message }) => errors.push(message)).pipe(socket));
  const device = new VsockDevice({ cid: 42, port: host });
  await using _served = serve(device, { vhostUser, log: (line) => t.diagnostic(line) });
  const sent = randomBytes(BYTES);
  let heard = '';
  const onLine = async (line: string): Promise<void> => {
    if (line !== 'listening') return;
    const socket = await host.connect(99);
    socket.end(sent);
    for await (const piece of socket) heard += new TextDecoder().decode(piece);
  };
  const script = `
  head -c ${BYTES} /dev/urandom >/tmp/goes
  socat -t 60 - VSOCK-CONNECT:2:1 </tmp/goes >/tmp/came
  cmp /tmp/goes /tmp/came && echo same
  socat -t 60 VSOCK-LISTEN:99 EXEC:'/bin/busybox sha256sum' &
  sleep 1
  echo listening
  wait`;
  const said = await runDeviceGuest(t, peer, {
    folder,
    words: wordsOf(vhostUser),
    script,
    onLine,
    files: await programs(),
  });
  assert.match(said, /^same$/m);
  assert.equal(heard.split(' ')[0], sumOf(sent));
  assert.deepEqual([errors, device.connections], [[], 0]);
});
