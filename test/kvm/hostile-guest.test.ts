// A guest that writes nonsense to the registers of its disks: it gets what it asked for, and the machine goes on.
import assert from 'node:assert/strict';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { openStore } from '../../src/stores/open-store.ts';
import type { Payload } from '../../src/testing/payload.ts';
import { type TransportName, VIRTIO_MMIO } from '../../src/vmm/address-map.ts';
import type { Machine } from '../../src/vmm/machine.ts';
import { addStoreDisk } from '../../src/vmm/store-disk.ts';
import { virtioSlots } from '../../src/vmm/virtio-slots.ts';
import { kvmTest } from './kvm-case.ts';
import { kernelCode, powerOff, withMachine } from './payload-machine.ts';

const ROUNDS = 1500;
/** The first function behind the host bridge, for CONFIG_ADDRESS. */
const FUNCTION = 0x8000_0800;

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

/** eax becomes the next number of a sequence that looks like chance. */
const next = (payload: Payload): Payload => payload.raw(0x69, 0xc0, ...word(1664525), 0x05, ...word(1013904223));

/** Writes and reads at random offsets of the window that begins at `base`; values of the bits in `mask`. */
function onMemory(payload: Payload, base: number, seed: number, mask: number): Payload {
  const again = `memory ${seed}`;
  next(payload.set('ebx', base).set('eax', seed).set('ecx', ROUNDS).label(again));
  payload.raw(0x89, 0xc7, 0x81, 0xe7, ...word(0x1fc)); // edi = eax & 0x1fc
  payload.raw(0x89, 0xc2, 0xc1, 0xea, 13, 0x81, 0xe2, ...word(mask)); // edx = (eax >> 13) & mask
  payload.raw(0x89, 0x14, 0x3b, 0x8b, 0x34, 0x3b); // [rbx + rdi] = edx; esi = [rbx + rdi]
  return payload.decrement('ecx').jumpIfNotZero(again);
}

/** As `onMemory`, in the configuration space of the first function. */
function onConfiguration(payload: Payload, seed: number, mask: number): Payload {
  const again = `configuration ${seed}`;
  next(payload.set('eax', seed).set('ecx', ROUNDS).label(again)).raw(0x89, 0xc6); // esi = eax
  payload
    .raw(0x25, ...word(0xfc), 0x0d, ...word(FUNCTION))
    .set('edx', 0xcf8)
    .out(4);
  payload
    .raw(0x89, 0xf0, 0xc1, 0xe8, 13, 0x25, ...word(mask))
    .set('edx', 0xcfc)
    .out(4)
    .in(2);
  return payload.raw(0x89, 0xf0).decrement('ecx').jumpIfNotZero(again); // eax = esi
}

const attacks: readonly [TransportName, (payload: Payload, seed: number, mask: number) => Payload][] = [
  ['mmio', (payload, seed, mask) => onMemory(payload, VIRTIO_MMIO.start, seed, mask)],
  ['pci', onConfiguration],
];

for (const [transport, attack] of attacks) {
  kvmTest(
    `a guest that writes nonsense to virtio-${transport} powers off in the end, and fills no log`,
    async (kvm, t) => {
      const payload = kernelCode();
      [0xffff_ffff, 0xff, 0xf, 0x3].forEach((mask, seed) => {
        attack(payload, seed, mask);
      });
      const lines: string[] = [];
      const log = (line: string): void => void lines.push(line);
      const prepare = async (machine: Machine): Promise<void> =>
        addStoreDisk(openStore('mem:1M').store, { machine, slots: virtioSlots(machine, transport), log });
      const exit = await withMachine(kvm, t, powerOff(payload), (machine) => machine.ended, { prepare });
      assert.deepEqual(exit, { how: 'power-off' });
      assert.ok(lines.length < 20, lines.join('\n'));
    },
  );
}

kvmTest('a notification of a queue that is not ready, or does not exist, is ignored', async (kvm, t) => {
  const payload = kernelCode().set('ebx', VIRTIO_MMIO.start);
  for (const queue of [0, 1, 0xffff, 0xffff_ffff]) payload.set('eax', queue).raw(0x89, 0x43, 0x50); // QueueNotify
  const process = t.mock.method(BlockDevice.prototype, 'process', () => 0);
  const prepare = async (machine: Machine): Promise<void> =>
    addStoreDisk(openStore('mem:1M').store, { machine, slots: virtioSlots(machine, 'mmio'), log: assert.fail });
  const exit = await withMachine(kvm, t, powerOff(payload), (machine) => machine.ended, { prepare });
  assert.deepEqual(exit, { how: 'power-off' });
  assert.equal(process.mock.callCount(), 0);
});
