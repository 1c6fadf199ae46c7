// The routing table and messages without one, against the real kernel.
import assert from 'node:assert/strict';
import { KVM_IRQ_ROUTING_ENTRY as ENTRY, KVM_IRQ_ROUTING } from '../../src/kvm/constants.ts';
import { GsiRouting } from '../../src/kvm/gsi-routing.ts';
import { ioctlWithStruct, zeroedStruct } from '../../src/kvm/ioctl.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { PIC_GSI as GSI, MESSAGE, OTHER_MESSAGE } from '../../src/testing/interrupt-payload.ts';
import { InterruptGuest } from './interrupt-guest.ts';
import { kvmTest, refusal } from './kvm-case.ts';

interface RawEntry {
  readonly type?: number;
  readonly flags?: number;
  readonly tableFlags?: number;
}

/** KVM_SET_GSI_ROUTING of one entry, with nothing in between; what the kernel says. */
function setOneRoute(vmFd: number, { type = 2, flags = 0, tableFlags = 0 }: RawEntry): string {
  const memory = zeroedStruct(KVM_IRQ_ROUTING.entries + ENTRY.sizeBytes);
  memory.setUint32(KVM_IRQ_ROUTING.count, 1, true);
  memory.setUint32(KVM_IRQ_ROUTING.flags, tableFlags, true);
  memory.setUint32(KVM_IRQ_ROUTING.entries + ENTRY.gsi, 30, true);
  memory.setUint32(KVM_IRQ_ROUTING.entries + ENTRY.type, type, true);
  memory.setUint32(KVM_IRQ_ROUTING.entries + 8, flags, true);
  return refusal(() => ioctlWithStruct(vmFd, 'KVM_SET_GSI_ROUTING'));
}

kvmTest('a table cannot be set without an irqchip', (kvm) => {
  using vm = kvm.createVm();
  assert.notEqual(
    refusal(() => vm.routing.commit()),
    'ok',
  );
});

kvmTest('what createIrqchip sets up is what our table begins with: writing it changes nothing', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  guest.vm.routing.commit();
  using line = EventFd.create();
  using _irqfd = guest.vm.irqfds.assign({ gsi: GSI }, line);
  line.signal();
  await guest.expect(1);
});

kvmTest('a write replaces the whole table: a GSI that is not in it leads nowhere', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using message = EventFd.create();
  guest.vm.irqfds.assign({ gsi: GSI }, line);
  guest.vm.irqfds.assign({ gsi: 24 }, message);
  new GsiRouting(guest.vm.fd).set(24, { msi: MESSAGE }).commit();
  line.signal();
  message.signal();
  await guest.expect(0, 1);
});

kvmTest('one GSI may lead to several places', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  guest.vm.irqfds.assign({ gsi: GSI }, line);
  guest.irqchip.redirect(GSI, { vector: MESSAGE.data });
  line.signal();
  await guest.expect(1, 1);
});

kvmTest('a line that is raised and lowered from outside goes the same way', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  guest.irqchip.setLine(GSI, true);
  guest.irqchip.setLine(GSI, false);
  await guest.expect(1);
});

kvmTest('a GSI beyond KVM_CAP_IRQ_ROUTING is EINVAL, and the old table stays', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  const limit = kvm.capability('KVM_CAP_IRQ_ROUTING');
  assert.ok(limit >= 24, `${limit}`);
  const { routing } = guest.vm;
  routing.set(limit - 1, { msi: OTHER_MESSAGE }).commit();
  assert.throws(() => routing.set(limit, { msi: MESSAGE }).commit(), /EINVAL: a GSI or a pin is out of range/);
  using line = EventFd.create();
  guest.vm.irqfds.assign({ gsi: limit - 1 }, line);
  line.signal();
  await guest.expect(0, 0, 1);
  routing.set(limit).commit();
});

kvmTest('a pin that does not exist is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  assert.throws(() => vm.routing.set(30, { chip: 'ioapic', pin: 99 }).commit(), { code: 'EINVAL' });
  assert.throws(() => vm.routing.set(30, { chip: 'pic1', pin: 8 }).commit(), { code: 'EINVAL' });
  vm.routing.set(30, { chip: 'ioapic', pin: 23 }).commit();
});

kvmTest('an unknown type, and undefined flags, are EINVAL', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  assert.equal(setOneRoute(vm.fd, {}), 'ok');
  assert.equal(setOneRoute(vm.fd, { type: 99 }), 'EINVAL');
  assert.equal(setOneRoute(vm.fd, { flags: 0x80 }), 'EINVAL');
  assert.equal(setOneRoute(vm.fd, { tableFlags: 1 }), 'EINVAL');
});

kvmTest('a message without a GSI interrupts', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  assert.equal(guest.vm.routing.signal(MESSAGE), true);
  await guest.expect(0, 1);
});

kvmTest('a message to a local APIC that is switched off is not delivered', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  guest.enableApic(false);
  assert.equal(guest.vm.routing.signal(MESSAGE), false);
  await guest.expect(0);
});

kvmTest('a message without a destination is an error that says so', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  assert.throws(() => vm.routing.signal(MESSAGE), /KVM_SIGNAL_MSI: .*no vCPU has a local APIC/);
});
