// vhost-user: a disk of the microVM's that is anybody's back end: our own, in this process, and qemu-storage-daemon.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { storageDaemonCommand } from '../../src/bench/back-end-commands.ts';
import { BackEndProcess } from '../../src/bench/back-end-process.ts';
import { BenchDisk } from '../../src/bench/bench-disk.ts';
import { countErrors } from '../../src/bench/load/load-spec.ts';
import { allowedProcessors } from '../../src/bench/processor-use.ts';
import { memory } from '../../src/stores/memory.ts';
import { VIRTIO_F_EVENT_IDX } from '../../src/virtio/spec.ts';
import { VhostUserDisk } from '../../src/vmm/vhost-user-disk.ts';
import { serveDisk } from './back-end.ts';
import { DrivenDisk } from './driven-disk.ts';
import type { Verified } from './verifying-thread.ts';

const PEER = 'qemu-storage-daemon';
const skip = spawnSync(PEER, ['--version'], { stdio: 'ignore' }).status === 0 ? false : `peer missing: ${PEER}`;
const DISK_BYTES = 8 << 20;

function assertIntact(all: readonly Verified[]): void {
  for (const { requests, errors } of all) {
    assert.equal(countErrors(errors), 0, JSON.stringify(errors));
    assert.ok(requests > 0);
  }
}

for (const without of [0n, VIRTIO_F_EVENT_IDX]) {
  const how = without === 0n ? 'with' : 'without';

  test(`our own back end keeps what it is given, ${how} EVENT_IDX, two queues`, async () => {
    await using machine = new DrivenDisk({ queues: 2 });
    await using backEnd = serveDisk(memory(DISK_BYTES), { queues: 2 });
    const { loop, log, memory: region } = machine;
    const disk = await VhostUserDisk.connect({ socket: backEnd.path, whenGone: 'wait', memory: [region], loop, log });
    machine.connect(disk.device, disk.host);
    await machine.bringUp(without);
    const driving = machine.drive();
    await driving.progress();
    assertIntact(await driving.stop());
    await machine.close();
    disk.close();
    assert.deepEqual(machine.lines, []);
  });

  test(`${PEER} keeps what it is given, ${how} EVENT_IDX, two queues`, { skip, timeout: 60_000 }, async (t) => {
    using file = new BenchDisk(DISK_BYTES);
    const command = storageDaemonCommand({ folder: file.folder, disk: file.path, queues: 2 }, 'threads');
    await using backEnd = await BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
    await using machine = new DrivenDisk({ queues: 2 });
    const { loop, log, memory: region } = machine;
    const disk = await VhostUserDisk.connect({ socket: backEnd.socket, whenGone: 'wait', memory: [region], loop, log });
    machine.connect(disk.device, disk.host);
    await machine.bringUp(without);
    const driving = machine.drive();
    for (let i = 0; i < 5; i++) await driving.progress();
    assertIntact(await driving.stop());
    await machine.close();
    disk.close();
    assert.deepEqual(machine.lines, []);
  });
}
