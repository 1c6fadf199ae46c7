// test/microvm/inside: a disk in the process and one of qemu-storage-daemon, on each transport, with a stock kernel.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ConsoleParser } from '../../../guests/console-parser.ts';
import { startBackEnd } from '../../guest/back-end.ts';
import { checkFromHost, testFolder } from '../../guest/guest-case.ts';
import { DISK_BYTES, makeDisk } from '../disk-image.ts';
import { note } from '../inside-report.ts';
import { MicroVm } from '../micro-vm.ts';

async function twoDisks(t: TestContext, transport: string): Promise<void> {
  const folder = await testFolder(t, '/dev/shm');
  const ours = await makeDisk(folder, 'ours.img');
  const theirs = await makeDisk(folder, 'theirs.img');
  await using daemon = await startBackEnd({ store: theirs, folder, program: 'qemu-storage-daemon' });
  const disks = ['--disk', ours, '--vhost-user', `${daemon.socketPath}:blk`];
  const words = ['--transport', transport, '--memory', '256M', ...disks];
  await using vm = new MicroVm({ words, append: 'rdinit=/disks' });
  const { code, everything } = await vm.ended();
  const parser = new ConsoleParser();
  for (const line of vm.console.text.split('\n')) parser.accept(line.trimEnd());
  for (const { name } of parser.disks) note(`${transport} ${name}: ${stepsOf(parser, name)}`);
  assert.equal(parser.outcome, 'ok', everything);
  assert.equal(code, 0, everything);
  const facts = parser.disks.map(({ sizeBytes, readOnly }) => ({ sizeBytes, readOnly }));
  assert.deepEqual(facts, Array(2).fill({ sizeBytes: DISK_BYTES, readOnly: false }));
  assert.equal(parser.disks[1]?.serial, daemon.serial);
  await daemon.stop();
  for (const image of [ours, theirs]) await checkFromHost(t, image);
}

function stepsOf(parser: ConsoleParser, disk: string): string {
  const steps = parser.steps.filter((step) => step.disk === disk);
  return steps.map(({ name, ok, ms }) => `${name} ${ok ? `${(ms / 1000).toFixed(2)} s` : 'FAILED'}`).join(', ');
}

for (const transport of ['mmio', 'pci']) {
  test(`virtio-${transport}: mkfs, write, drop caches, compare, on our disk and on one behind another program`, (t) =>
    twoDisks(t, transport));
}
