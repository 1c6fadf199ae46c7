// test/kvm: virtio over the real kernel: a guest rings, an ioeventfd carries it, a disk answers, an irqfd interrupts the guest.
import assert from 'node:assert/strict';
import { BlockDevice } from '../../src/devices/blk/block-device.ts';
import { ioctlWithStruct, zeroedStruct } from '../../src/kvm/ioctl.ts';
import type { IoEventFd } from '../../src/kvm/ioeventfd.ts';
import type { Kvm } from '../../src/kvm/kvm.ts';
import type { Vm } from '../../src/kvm/vm.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { BlockDriver } from '../../src/testing/block-driver.ts';
import { blockRequest } from '../../src/testing/block-request.ts';
import { DriverQueue } from '../../src/testing/driver-queue.ts';
import { MESSAGE, OTHER_MESSAGE, PIC_GSI } from '../../src/testing/interrupt-payload.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { RawGuest } from '../../src/testing/raw-guest.ts';
import type { StandInMachine } from '../../src/testing/stand-in-machine.ts';
import type { TransportDriver } from '../../src/testing/transport-driver.ts';
import { MMIO_BYTES, MmioRegister as Reg } from '../../src/transports/bus/mmio/spec.ts';
import { VirtioMmio } from '../../src/transports/bus/mmio/virtio-mmio.ts';
import * as pci from '../../src/transports/bus/pci/spec.ts';
import { VirtioPci } from '../../src/transports/bus/pci/virtio-pci.ts';
import { LocalHost } from '../../src/transports/queue/local-host.ts';
import { GuestMemory } from '../../src/virtio/guest-memory.ts';
import { GSIS, PORTS } from '../../src/vmm/address-map.ts';
import { PCI_PORTS_BYTES, PciBus } from '../../src/vmm/pci-bus.ts';
import { doorbellsOf, lineOf, MessageGsis } from '../../src/vmm/virtio-lines.ts';
import { arrayStore, pattern } from '../reference/array-store.ts';
import { kvmTest, refusal } from './kvm-case.ts';
import { VirtioGuest, type Write } from './virtio-guest.ts';

const DISK_BYTES = 64 * 1024;
const WINDOW = 0xd000_0000;
/** Where the guest's handler leaves the InterruptStatus it read. */
const STATUS_SEEN = 0x3010;
const PCI_BARS = { 0: 0xc000_0000, 1: 0xc010_0000 } as const;

const makeDisk = (): BlockDevice => new BlockDevice(arrayStore(pattern(DISK_BYTES)), { queues: 2 });

/** Notes every write a driver makes from now on. */
function record(machine: StandInMachine): Write[] {
  const writes: Write[] = [];
  const toMemory = machine.write.bind(machine);
  const toPorts = machine.ports.write.bind(machine.ports);
  machine.write = (address, sizeBytes, value) => {
    writes.push({ bus: 'mmio', address, sizeBytes, value });
    return toMemory(address, sizeBytes, value);
  };
  machine.ports.write = (address, sizeBytes, value) => {
    writes.push({ bus: 'pio', address, sizeBytes, value });
    return toPorts(address, sizeBytes, value);
  };
  return writes;
}

interface Recorded {
  readonly setUp: readonly Write[];
  readonly ring: readonly Write[];
  readonly blocks: BlockDriver;
}

/** The accesses of a driver that sets up queue 0 and notifies it: recorded once, to be repeated by a guest. */
async function recordDriver<Driver extends TransportDriver & { readonly machine: StandInMachine }>(
  memory: RawGuest,
  makeDriver: () => Driver,
  first: (driver: Driver) => void = () => {},
): Promise<Recorded> {
  await using driver = makeDriver();
  const writes = record(driver.machine);
  first(driver);
  await driver.reset();
  const features = await driver.offered();
  await driver.accept(features);
  const ring = new DriverQueue(memory.memory, { size: 16, features });
  await driver.setUp(0, 16, ring.addresses);
  await driver.start();
  const setUp = writes.splice(0);
  driver.kick(0);
  return { setUp, ring: writes.splice(0), blocks: new BlockDriver(memory.memory, ring) };
}

async function mmioGuest(kvm: Kvm, memory: RawGuest, prepare?: (vm: Vm) => void) {
  const recorded = await recordDriver(memory, () => new MmioDriver(makeDisk(), memory));
  const device = makeDisk();
  const guest = new VirtioGuest({
    kvm,
    memory,
    device,
    ...recorded,
    onLine: (payload) =>
      payload
        .load('eax', WINDOW + Reg.InterruptStatus)
        .store(STATUS_SEEN, 'eax')
        .store(WINDOW + Reg.InterruptACK, 'eax'),
    ...(prepare && { prepare }),
  });
  const interrupt = lineOf(guest.vm, PIC_GSI);
  const transport = new VirtioMmio({ ...guest.options, address: WINDOW, interrupt });
  guest.transport = transport;
  guest.memory.add(WINDOW, MMIO_BYTES, transport);
  return { guest, device, transport, blocks: recorded.blocks };
}

/** Makes a read available, lets the guest ring, and waits for the interrupt and the used buffer. */
async function servesOnce(guest: VirtioGuest, blocks: BlockDriver, which: 0 | 1): Promise<void> {
  const before = await guest.quiet();
  blocks.queue.requestCalls();
  blocks.add(blockRequest.read(2, 512));
  blocks.queue.publish();
  await guest.run('ring');
  await guest.interrupted(which, before);
  const [result] = blocks.harvest();
  assert.deepEqual(result?.data, pattern(DISK_BYTES).slice(1024, 1536));
}

const notifies = (guest: VirtioGuest): number =>
  guest.trapped.filter(({ address }) => address === WINDOW + Reg.QueueNotify).length;

kvmTest('virtio-mmio: the guest rings without leaving, and its interrupt says that a buffer was used', async (kvm) => {
  using memory = new RawGuest();
  const { guest, blocks, transport } = await mmioGuest(kvm, memory);
  await using _ = guest;
  await guest.run('set-up');
  assert.equal(transport.registers.status & 4, 4, 'the guest has set the device up');
  for (let i = 0; i < 3; i++) await servesOnce(guest, blocks, 0);
  assert.equal(notifies(guest), 0);
  assert.equal(guest.word(STATUS_SEEN), 1);
  assert.deepEqual(guest.lines, []);
});

kvmTest('virtio-mmio: a change of the configuration interrupts, and the guest acknowledges it', async (kvm) => {
  using memory = new RawGuest();
  const { guest, device, transport } = await mmioGuest(kvm, memory);
  await using _ = guest;
  await guest.run('set-up');
  const before = await guest.quiet();
  device.resize(DISK_BYTES / 2);
  await guest.interrupted(0, before);
  assert.equal(guest.word(STATUS_SEEN), 3);
  assert.equal(transport.interruptStatus, 1);
});

/** Leaves no room on the bus, where the kernel counts so. */
function fillBus(vm: Vm): void {
  const addZone = (i: number): void => {
    const zone = zeroedStruct(16);
    zone.setBigUint64(0, BigInt(0x4000_0000 + 8 * i), true);
    zone.setUint32(8, 8, true);
    ioctlWithStruct(vm.fd, 'KVM_REGISTER_COALESCED_MMIO');
  };
  for (let i = 0; i < 2000 && refusal(() => addZone(i)) === 'ok'; i++);
}

kvmTest(
  'virtio-mmio: where the kernel refuses the doorbell the guest leaves to ring, which is said once',
  async (kvm, t) => {
    using memory = new RawGuest();
    const { guest, blocks } = await mmioGuest(kvm, memory, fillBus);
    await using _ = guest;
    await guest.run('set-up');
    if (guest.lines.length === 0) return t.skip('this kernel has room for doorbells on a full bus');
    for (let i = 0; i < 3; i++) await servesOnce(guest, blocks, 0);
    assert.equal(notifies(guest), 3);
    assert.equal(guest.lines.length, 1);
    assert.match(guest.lines[0] as string, /queue 0: kicks take the slow path.*ENOSPC/);
  },
);

kvmTest(
  'virtio-mmio: after a reset the doorbell is no more: to ring it leaves the guest, and nothing comes of it',
  async (kvm) => {
    using memory = new RawGuest();
    const { guest, blocks, transport } = await mmioGuest(kvm, memory);
    await using _ = guest;
    await guest.run('set-up');
    await servesOnce(guest, blocks, 0);
    await transport.write(Reg.Status, 4, 0);
    await guest.run('ring');
    assert.equal(notifies(guest), 1);
  },
);

kvmTest('virtio-mmio: queues moved to another host under a guest that rings: each request is served', async (kvm) => {
  using memory = new RawGuest();
  const { guest, blocks, transport } = await mmioGuest(kvm, memory);
  await using _ = guest;
  await guest.run('set-up');
  const shared = new GuestMemory([memory.memory]);
  const other = new LocalHost(makeDisk(), guest.options.loop, { log: () => {}, guest: shared });
  for (let i = 0; i < 3; i++) {
    await servesOnce(guest, blocks, 0);
    await transport.registers.moveTo(other);
    await servesOnce(guest, blocks, 0);
    await transport.registers.moveBack();
  }
  assert.equal(other.counters[0]?.requests, 3);
  assert.equal(notifies(guest), 0);
});

async function pciGuest(kvm: Kvm, memory: RawGuest) {
  const recorded = await recordDriver(
    memory,
    () => new PciDriver(makeDisk(), memory),
    (driver) => {
      for (const [bar, address] of Object.entries(PCI_BARS))
        driver.writePci(pci.PciConfig.bar0 + 4 * Number(bar), address);
      driver.command(pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_DMA);
      driver.enableMsix();
      driver.writeEntry(0, pci.MsixEntry.data, OTHER_MESSAGE.data);
      driver.writeEntry(1, pci.MsixEntry.data, MESSAGE.data);
    },
  );
  const device = makeDisk();
  const guest = new VirtioGuest({ kvm, memory, device, ...recorded });
  const messages = new MessageGsis(guest.vm).port();
  const transport = new VirtioPci({ ...guest.options, memory: guest.memory, messages });
  guest.transport = transport;
  const bus = new PciBus();
  bus.add(transport.config);
  guest.ports.add(PORTS.pciConfig, PCI_PORTS_BYTES, bus);
  return { guest, device, transport, blocks: recorded.blocks };
}

kvmTest('virtio-pci: the guest rings without leaving, and the queue’s message comes', async (kvm) => {
  using memory = new RawGuest();
  const { guest, blocks, device } = await pciGuest(kvm, memory);
  await using _ = guest;
  await guest.run('set-up');
  const notify = PCI_BARS[0] + pci.Bar0.notify;
  for (let i = 0; i < 3; i++) await servesOnce(guest, blocks, 1);
  assert.equal(guest.trapped.filter(({ address }) => address === notify).length, 0);
  const before = await guest.quiet();
  device.resize(DISK_BYTES / 2);
  await guest.interrupted(2, before);
  assert.equal(guest.handled[1], before[1], 'and not on the vector of the queue');
  assert.deepEqual(guest.lines, []);
});

kvmTest(
  'virtio-pci: a masked vector does not interrupt, is pending, and comes once when it is unmasked',
  async (kvm) => {
    using memory = new RawGuest();
    const { guest, device } = await pciGuest(kvm, memory);
    await using _ = guest;
    await guest.run('set-up');
    const control = PCI_BARS[1] + pci.MsixEntry.control;
    const pending = (): number => guest.memory.read(PCI_BARS[1] + pci.Bar1.pending, 4) & 1;
    let commits = 0;
    const commit = guest.vm.routing.commit.bind(guest.vm.routing);
    guest.vm.routing.commit = () => {
      commits++;
      commit();
    };
    for (let round = 0; round < 3; round++) {
      const before = await guest.quiet();
      guest.memory.write(control, 4, 1);
      device.resize(DISK_BYTES / 2);
      device.resize(DISK_BYTES);
      assert.deepEqual(await guest.quiet(), before);
      assert.equal(pending(), 1);
      guest.memory.write(control, 4, 0);
      await guest.interrupted(2, before);
      assert.equal((await guest.quiet())[2], (before[2] as number) + 1, 'once');
      guest.memory.write(control, 4, 1);
      assert.equal(pending(), 0);
      guest.memory.write(control, 4, 0);
    }
    assert.equal(commits, 0, 'masking alone writes no routes');
  },
);

kvmTest('a kernel that takes no doorbell of any length gets one of the 2 bytes that a notification has', (kvm) => {
  using vm = kvm.createVm();
  using eventFd = EventFd.create();
  const lengthsOf = (): number[] => {
    const doorbells = doorbellsOf(vm);
    return ([0, 4] as const).map((lengthBytes) => {
      using assigned = doorbells.assign({ address: WINDOW, lengthBytes }, eventFd) as IoEventFd;
      return assigned.doorbell.lengthBytes;
    });
  };
  assert.deepEqual(lengthsOf(), [0, 4]);
  vm.capability = () => 0;
  assert.deepEqual(lengthsOf(), [2, 4]);
});

kvmTest('regression: a message that the kernel refuses does not stay in the routing table', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  using eventFd = EventFd.create();
  const port = new MessageGsis(vm).port();
  const commit = vm.routing.commit.bind(vm.routing);
  vm.routing.commit = () => {
    throw new Error('EINVAL');
  };
  assert.throws(() => port.assign(0, MESSAGE, eventFd), /EINVAL/);
  assert.deepEqual(vm.routing.get(GSIS.firstMessage), []);
  vm.routing.commit = commit;
  port.assign(0, MESSAGE, eventFd)[Symbol.dispose]();
  assert.deepEqual(vm.routing.get(GSIS.firstMessage), [{ msi: MESSAGE }]);
});

kvmTest('virtio-pci: a BAR that the guest moves takes its doorbells along', async (kvm) => {
  using memory = new RawGuest();
  const { guest, blocks, transport } = await pciGuest(kvm, memory);
  await using _ = guest;
  await guest.run('set-up');
  await transport.config.write(pci.PciConfig.bar0, 4, 0xc020_0000);
  await guest.run('ring');
  const left = (address: number): boolean => guest.trapped.some((write) => write.address === address);
  assert.ok(left(PCI_BARS[0] + pci.Bar0.notify), 'nothing rings at the old place');
  await transport.config.write(pci.PciConfig.bar0, 4, PCI_BARS[0]);
  await servesOnce(guest, blocks, 1);
});
