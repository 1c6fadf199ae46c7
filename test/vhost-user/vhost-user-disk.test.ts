// vhost-user: a disk of the microVM's that is anybody's back end: our own, in this process, and qemu-storage-daemon.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { storageDaemonCommand } from '../../bench/back-end-commands.ts';
import { BackEndProcess } from '../../bench/back-end-process.ts';
import { BenchDisk } from '../../bench/bench-disk.ts';
import { countErrors } from '../../bench/load/load-spec.ts';
import { allowedProcessors } from '../../bench/processor-use.ts';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { CONFIG } from '../../src/devices/blk/spec.ts';
import { forward } from '../../src/stores/filters/forward.ts';
import { memory } from '../../src/stores/memory.ts';
import { UnixListener } from '../../src/sys/unix-socket.ts';
import { eventually } from '../../src/testing/raw-front-end.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import { VhostUserDisk } from '../../src/vmm/vhost-user-disk.ts';
import { serveDevice, serveDisk } from './back-end.ts';
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
    machine.connect(disk.host);
    await machine.bringUp(without);
    const driving = machine.drive();
    await driving.progress();
    assertIntact(await driving.stop());
    await disk.close();
    await machine.close();
    disk[Symbol.dispose]();
    assert.deepEqual(machine.lines, []);
  });

  test(`${PEER} keeps what it is given, ${how} EVENT_IDX, two queues`, { skip }, async (t) => {
    using file = new BenchDisk(DISK_BYTES);
    const command = storageDaemonCommand({ folder: file.folder, disk: file.path, queues: 2 }, 'threads');
    await using backEnd = await BackEndProcess.start(command, allowedProcessors().at(-1) ?? 0, t.signal);
    await using machine = new DrivenDisk({ queues: 2 });
    const { loop, log, memory: region } = machine;
    const disk = await VhostUserDisk.connect({ socket: backEnd.socket, whenGone: 'wait', memory: [region], loop, log });
    machine.connect(disk.host);
    await machine.bringUp(without);
    const driving = machine.drive();
    for (let i = 0; i < 5; i++) await driving.progress();
    assertIntact(await driving.stop());
    await disk.close();
    await machine.close();
    disk[Symbol.dispose]();
    assert.deepEqual(machine.lines, []);
  });
}

/** A machine whose disk is `device`, served in this process. */
async function plugged(device: BlockDevice) {
  const backEnd = serveDevice(device);
  const machine = new DrivenDisk();
  const { loop, log, memory: region } = machine;
  const disk = await VhostUserDisk.connect({ socket: backEnd.path, whenGone: 'wait', memory: [region], loop, log });
  machine.connect(disk.host);
  return {
    machine,
    disk,
    async [Symbol.asyncDispose]() {
      await disk.close();
      await machine[Symbol.asyncDispose]();
      disk[Symbol.dispose]();
      await backEnd[Symbol.asyncDispose]();
    },
  };
}

test('what the back end offers is what the driver is offered: features, queues, configuration space', async () => {
  const device = new BlockDevice(memory(DISK_BYTES), { queues: 3 });
  await using world = await plugged(device);
  const { registers } = world.machine;
  const ring = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
  assert.equal(registers.offeredFeatures, device.features | ring);
  assert.deepEqual(
    registers.queues.map(({ sizeMax }) => sizeMax),
    [128, 128, 128],
  );
  assert.deepEqual(registers.device.config?.bytes, device.config.bytes);
});

test('the driver is notified of a resize by the back end, and reads the new capacity', async () => {
  const device = new BlockDevice(memory(DISK_BYTES));
  await using world = await plugged(device);
  const { machine } = world;
  await machine.byHand();
  machine.registers.readConfig(CONFIG.capacity, 4);
  const before = machine.registers.generation;
  device.resize(DISK_BYTES / 2);
  await eventually('the driver is told', () => machine.configChanges === 1);
  assert.equal(machine.registers.readConfig(CONFIG.capacity, 4), DISK_BYTES / 2 / 512);
  assert.notEqual(machine.registers.generation, before);
});

test('the cache mode that the driver chooses is the back end’s, and no other field can be written', async () => {
  const device = new BlockDevice(await cachedStore());
  await using world = await plugged(device);
  const { machine, disk } = world;
  await machine.byHand();
  await machine.registers.writeConfig(CONFIG.writeback, 1, 0);
  await machine.registers.writeConfig(CONFIG.capacity, 4, 0);
  assert.equal(machine.registers.readConfig(CONFIG.writeback, 1), 0);
  await eventually('the back end knows', () => device.config.bytes[CONFIG.writeback] === 0);
  assert.equal(machine.registers.readConfig(CONFIG.capacity, 4), DISK_BYTES / 512);
  await machine.registers.writeStatus(0);
  await eventually('a reset undoes it', () => disk.host.device.config?.bytes[CONFIG.writeback] === 1);
});

/** With a flush, for which there is a cache. */
async function cachedStore() {
  return Object.assign(forward(memory(DISK_BYTES)), { flush() {} });
}

test('a socket without a listener, or one that sends no reply, is an error with one line', {}, async (t) => {
  await using machine = new DrivenDisk();
  const { loop, log, memory: region } = machine;
  const folder = mkdtempSync(join(tmpdir(), 'belfry-vhost-user-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, 'disk.sock');
  const options = { socket, whenGone: 'wait', memory: [region], loop, log } as const;
  await assert.rejects(VhostUserDisk.connect(options), /^SystemError: connect: ENOENT: .*disk\.sock$/);
  using _silent = UnixListener.listen(socket);
  await assert.rejects(
    VhostUserDisk.connect(options),
    /did not introduce itself in 5000 ms: does it serve another VM\?$/,
  );
});
