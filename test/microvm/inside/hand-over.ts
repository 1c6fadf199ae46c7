// test/microvm/inside: a disk goes to another program and back while an unmodified Linux writes to it and reads it again.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type BackEndOptions, startBackEnd } from '../../guest/back-end.ts';
import { checkFromHost, testFolder } from '../../guest/guest-case.ts';
import { makeDisk } from '../disk-image.ts';
import { note } from '../inside-report.ts';
import { MicroVm } from '../micro-vm.ts';

/** Waits until the guest has written and compared `count` times more. */
async function rounds(vm: MicroVm, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await vm.shows(/BELFRY round \d+\s/);
}

const ROUNDS_EACH = 3;

async function handOver(t: TestContext, transport: string, program: NonNullable<BackEndOptions['program']>) {
  const folder = await testFolder(t, '/dev/shm');
  const store = await makeDisk(folder, 'lent.img');
  const socketPath = join(folder, 'hand-over.sock');
  const words = ['--transport', transport, '--memory', '256M', '--disk', store, '--hand-over', socketPath];
  await using vm = new MicroVm({ words });
  await vm.shows(/BELFRY up/);
  vm.type('churn /dev/vda & worker=$!');
  await rounds(vm, ROUNDS_EACH);
  vm.signal('SIGUSR1');
  await vm.says(/is closed, and its requests wait/);
  {
    await using daemon = await startBackEnd({ store, folder, program, socketPath });
    await vm.says(/is served by the back end/);
    await rounds(vm, ROUNDS_EACH);
    vm.signal('SIGUSR1');
    // What lets go of the image only when it ends is killed here; ours has to end well.
    if (program === 'belfry') await daemon.stop();
    else await vm.says(/ is in use/);
  }
  await vm.says(/is served in-process/);
  await rounds(vm, ROUNDS_EACH);
  vm.type('touch /tmp/stop; wait $worker; exit $?');
  const [, churned] = await vm.shows(/BELFRY churned (\d+) rounds/);
  note(`${transport}: ${churned} rounds of writes and comparisons, none wrong`);
  const { code, everything } = await vm.ended();
  assert.equal(code, 0, everything);
  await checkFromHost(t, store);
}

test('virtio-mmio: handed to qemu-storage-daemon and back under I/O', (t) =>
  handOver(t, 'mmio', 'qemu-storage-daemon'));
test('virtio-pci: handed to belfry serve and back under I/O', (t) => handOver(t, 'pci', 'belfry'));
