// test/guest: the devices of examples/ on a real Linux, each served by the command as its first lines say.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findUserModeLinux } from '../../guests/uml.ts';
import { startBelfry } from '../cli/belfry-process.ts';
import { runDeviceGuest } from './device-guest.ts';
import { type FindPeer, guestTest, testFolder } from './guest-case.ts';

const userModeLinux: FindPeer = (options) => findUserModeLinux({ ...options, withDevices: true });
const exampleFile = (name: string): string => join(import.meta.dirname, '../../examples', `${name}.ts`);

/** What the guest does with its /dev/hvc0, and what it prints. */
const cases: readonly [example: string, script: string, said: RegExp][] = [
  [
    'thermometer',
    `exec 3<>/dev/hvc0
    stty raw -echo <&3
    echo '?' >&3
    echo "sensor $(head -n 1 <&3)"`,
    /^sensor 48\.3 °C$/m,
  ],
  [
    'counter',
    `exec 3<>/dev/hvc0
    echo "before $(stty size <&3)"
    for line in 1 2 3 4 5 6 7; do echo $line >&3; done
    until [ "$(stty size <&3)" = '7 80' ]; do sleep 0.1; done
    echo "after $(stty size <&3)"`,
    /^after 7 80$/m,
  ],
  [
    'echo-console',
    `exec 3<>/dev/hvc0
    stty raw -echo <&3
    head -c 65536 /dev/urandom >/tmp/goes
    cat /tmp/goes >&3 &
    head -c 65536 <&3 >/tmp/came
    cmp /tmp/goes /tmp/came && echo "the same $(wc -c </tmp/came)"`,
    /^the same 65536$/m,
  ],
];

for (const [name, script, what] of cases)
  guestTest(`User-Mode Linux drives examples/${name}.ts`, userModeLinux, async (t, peer) => {
    const folder = await testFolder(t, '/dev/shm');
    const [socket, sensor] = [join(folder, 'sock'), join(folder, 'temp')];
    writeFileSync(sensor, '48312\n');
    await using served = startBelfry(['serve', exampleFile(name), '--socket', socket], { env: { SENSOR: sensor } });
    await served.says(/Serving/);
    const said = await runDeviceGuest(t, peer, { folder, words: [`virtio_uml.device=${socket}:3`], script });
    assert.match(said, what);
    served.kill('SIGTERM');
    assert.equal((await served.ended).code, 0);
  });
