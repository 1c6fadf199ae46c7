// Every rule by which KVM takes or refuses an irqfd and turns its rings into interrupts, against the real kernel.
import assert from 'node:assert/strict';
import { openSync } from 'node:fs';
import { KVM_IRQCHIP } from '../../src/kvm/constants.ts';
import { ioctlWithStruct, zeroedStruct } from '../../src/kvm/ioctl.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { PIC_GSI as GSI, MESSAGE, OTHER_MESSAGE } from '../../src/testing/interrupt-payload.ts';
import { eventually } from '../../src/testing/patience.ts';
import { isReadable, takeCount } from './event-count.ts';
import { DOORBELL, InterruptGuest } from './interrupt-guest.ts';
import { kernelTurn } from './kernel-turn.ts';
import { irqfd, kvmTest, refusal } from './kvm-case.ts';

const DEASSIGN = 1;
const RESAMPLE = 2;
const MESSAGE_GSI = 24;

/** Whether the IOAPIC has sent the interrupt of a level-triggered pin, and nobody has acknowledged it: its Remote IRR. */
function isPending({ irqchip }: InterruptGuest, pin: number): boolean {
  const view = new DataView(irqchip.state('ioapic').buffer);
  return (view.getBigUint64(KVM_IRQCHIP.ioapicRedirection + 8 * pin, true) & (1n << 14n)) !== 0n;
}

kvmTest('without an in-kernel irqchip it is EINVAL, or EAGAIN; the message says what is missing', (kvm) => {
  using vm = kvm.createVm();
  using line = EventFd.create();
  assert.match(irqfd(vm.fd, { fd: line.fd }), /^(EINVAL|EAGAIN)$/);
  assert.throws(() => vm.irqfds.assign({ gsi: GSI }, line), /createIrqchip comes first/);
});

kvmTest('an undefined flag is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  using line = EventFd.create();
  for (const flags of [4, 0x8000_0000]) assert.equal(irqfd(vm.fd, { fd: line.fd, flags }), 'EINVAL');
});

kvmTest('a descriptor that is not open is EBADF, one that is no eventfd is EINVAL', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  using line = EventFd.create();
  const file = openSync('/dev/null', 'r');
  assert.equal(irqfd(vm.fd, { fd: 9999 }), 'EBADF');
  assert.equal(irqfd(vm.fd, { fd: file }), 'EINVAL');
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: RESAMPLE, resampleFd: 9999 }), 'EBADF');
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: RESAMPLE, resampleFd: file }), 'EINVAL');
  assert.equal(irqfd(vm.fd, { fd: 9999, flags: DEASSIGN }), 'EBADF');
  closeFd(file);
});

kvmTest('one eventfd twice is EBUSY, on the same GSI as on another; the message says where it is', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  using line = EventFd.create();
  vm.irqfds.assign({ gsi: GSI }, line);
  assert.equal(irqfd(vm.fd, { fd: line.fd, gsi: GSI }), 'EBUSY');
  assert.equal(irqfd(vm.fd, { fd: line.fd, gsi: 7 }), 'EBUSY');
  assert.throws(() => vm.irqfds.assign({ gsi: 7 }, line), /EBUSY: GSI 7: .* the irqfd of GSI 5 already/);
});

kvmTest('one eventfd in two VMs is EBUSY on newer kernels, and taken by older ones', (kvm) => {
  using one = kvm.createVm();
  using other = kvm.createVm();
  one.createIrqchip();
  other.createIrqchip();
  using line = EventFd.create();
  one.irqfds.assign({ gsi: GSI }, line);
  const said = refusal(() => other.irqfds.assign({ gsi: GSI }, line));
  assert.match(said, /^(EBUSY|ok)$/);
  if (said === 'EBUSY') assert.throws(() => other.irqfds.assign({ gsi: GSI }, line), /in another VM already/);
});

kvmTest('a ring interrupts the guest once, and is counted nowhere', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using _irqfd = guest.vm.irqfds.assign({ gsi: GSI }, line);
  line.signal();
  await guest.expect(1);
  line.signal();
  await guest.expect(2);
  assert.match(String(takeCount(line)), /^[02]$/, 'kernels before 5.11 leave the count');
});

kvmTest('only KVM is notified: epoll and read see nothing, where the kernel is 5.11 or newer', (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using _irqfd = guest.vm.irqfds.assign({ gsi: GSI }, line);
  line.signal();
  const seen = isReadable(line);
  assert.equal(takeCount(line), seen ? 1 : 0);
});

kvmTest('two eventfds on one GSI both interrupt', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using one = EventFd.create();
  using other = EventFd.create();
  guest.vm.irqfds.assign({ gsi: GSI }, one);
  guest.vm.irqfds.assign({ gsi: GSI }, other);
  one.signal();
  await guest.expect(1);
  other.signal();
  await guest.expect(2);
});

kvmTest('a GSI without a route is accepted, and interrupts nothing', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using _irqfd = guest.vm.irqfds.assign({ gsi: 4000 }, line);
  line.signal();
  await guest.expect(0);
});

kvmTest('rings coalesce: a thousand of them while the guest lets nothing in are one interrupt', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  const registration = guest.vm.irqfds.assign({ gsi: GSI }, line);
  for (let i = 0; i < 1000; i++) line.signal();
  // The lines are raised by a worker of the kernel: deassign waits for it, before the guest is let loose.
  registration[Symbol.dispose]();
  await guest.expect(1);
});

kvmTest('a count from before the registration interrupts once, and stays or is taken', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  for (let i = 0; i < 3; i++) line.signal();
  using _irqfd = guest.vm.irqfds.assign({ gsi: GSI }, line);
  await guest.expect(1);
  assert.match(String(takeCount(line)), /^[03]$/, 'Linux 6 leaves it');
  line.signal();
  await guest.expect(2);
});

kvmTest(
  'one eventfd as ioeventfd and as irqfd: the guest interrupts itself, with no user space in between',
  async (kvm) => {
    using guest = new InterruptGuest(kvm);
    using both = EventFd.create();
    using _irqfd = guest.vm.irqfds.assign({ gsi: GSI }, both);
    using _ioeventfd = guest.vm.ioeventfds.assign(DOORBELL, both);
    guest.run('ring');
    await guest.expect(1);
  },
);

kvmTest('after deassign no interrupt comes, and the eventfd is an eventfd again', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  const registration = guest.vm.irqfds.assign({ gsi: GSI }, line);
  line.signal();
  await guest.expect(1);
  registration[Symbol.dispose]();
  registration[Symbol.dispose]();
  takeCount(line);
  line.signal();
  assert.equal(isReadable(line), true);
  assert.equal(takeCount(line), 1);
  await guest.expect(1);
  guest.vm.irqfds.assign({ gsi: GSI }, line)[Symbol.dispose]();
});

kvmTest('what was rung before deassign has interrupted when it returns', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  for (let round = 1; round <= 20; round++) {
    using line = EventFd.create();
    const registration = guest.vm.irqfds.assign({ gsi: GSI }, line);
    line.signal();
    registration[Symbol.dispose]();
    guest.run('window');
    assert.deepEqual(guest.handled, [round, 0, 0]);
  }
});

kvmTest('deassign with a wrong GSI, of what is not there, or twice, is no error, and does nothing', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  using line = EventFd.create();
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: DEASSIGN }), 'ok', 'not there');
  assert.equal(irqfd(vm.fd, { fd: line.fd }), 'ok');
  assert.equal(irqfd(vm.fd, { fd: line.fd, gsi: 7, flags: DEASSIGN }), 'ok', 'wrong GSI');
  assert.equal(irqfd(vm.fd, { fd: line.fd }), 'EBUSY', 'still there');
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: DEASSIGN }), 'ok');
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: DEASSIGN }), 'ok', 'twice');
  assert.equal(irqfd(vm.fd, { fd: line.fd }), 'ok');
});

kvmTest('a registration stays active although its eventfd was closed, and is removed by dispose', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  const line = EventFd.create();
  using both = guest.vm.ioeventfds.assign(DOORBELL, line);
  const registration = guest.vm.irqfds.assign({ gsi: GSI }, line);
  line[Symbol.dispose]();
  guest.run('ring');
  await guest.expect(1);
  registration[Symbol.dispose]();
  guest.run('ring');
  await guest.expect(1);
  assert.ok(both);
});

kvmTest('closing the VM gives the eventfd back', async (kvm) => {
  using line = EventFd.create();
  const vm = kvm.createVm();
  vm.createIrqchip();
  assert.equal(irqfd(vm.fd, { fd: line.fd }), 'ok');
  closeFd(vm.fd);
  // The last reference may be dropped a moment later.
  await eventually('the eventfd is nobody else’s', () => {
    line.signal();
    return takeCount(line) > 0;
  });
});

kvmTest('a message interrupts by its vector, and follows the routing table', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using _irqfd = guest.vm.irqfds.assign({ gsi: MESSAGE_GSI }, line);
  guest.vm.routing.set(MESSAGE_GSI, { msi: MESSAGE }).commit();
  line.signal();
  await guest.expect(0, 1);
  guest.vm.routing.set(MESSAGE_GSI, { msi: OTHER_MESSAGE }).commit();
  line.signal();
  await guest.expect(0, 1, 1);
  guest.vm.routing.set(MESSAGE_GSI).commit();
  line.signal();
  await guest.expect(0, 1, 1);
});

kvmTest(
  'an irqfd on a level-triggered pin without resample is a pulse: one interrupt, none after the acknowledgement',
  async (kvm) => {
    using guest = new InterruptGuest(kvm);
    using line = EventFd.create();
    guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
    using _irqfd = guest.vm.irqfds.assign({ gsi: 10 }, line);
    line.signal();
    await guest.expect(0, 1);
  },
);

kvmTest(
  'resample: the line stays raised until the guest acknowledges, then the resample eventfd is rung',
  async (kvm) => {
    using guest = new InterruptGuest(kvm);
    using line = EventFd.create();
    using resample = EventFd.create();
    guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
    using _irqfd = guest.vm.irqfds.assign({ gsi: 10, resample }, line);
    line.signal();
    await eventually('the line is raised', () => isPending(guest, 10));
    assert.equal(takeCount(resample), 0, 'not acknowledged yet');
    await guest.expect(0, 1);
    assert.equal(takeCount(resample), 1);
    line.signal();
    await guest.expect(0, 2);
    assert.equal(takeCount(resample), 1, 'a device with more work rings again');
  },
);

kvmTest('resample: an acknowledgement rings every resample eventfd of the GSI', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using one = EventFd.create();
  using other = EventFd.create();
  using resampleOne = EventFd.create();
  using resampleOther = EventFd.create();
  guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
  guest.vm.irqfds.assign({ gsi: 10, resample: resampleOne }, one);
  guest.vm.irqfds.assign({ gsi: 10, resample: resampleOther }, other);
  one.signal();
  await guest.expect(0, 1);
  assert.deepEqual([takeCount(resampleOne), takeCount(resampleOther)], [1, 1]);
});

kvmTest('resample: deassign does not need the flag, and the resample eventfd is rung no more', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  using line = EventFd.create();
  using resample = EventFd.create();
  guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
  const registration = guest.vm.irqfds.assign({ gsi: 10, resample }, line);
  registration[Symbol.dispose]();
  guest.irqchip.setLine(10, true);
  guest.irqchip.setLine(10, false);
  await guest.expect(0, 1);
  assert.equal(takeCount(resample), 0);
});

kvmTest(
  'resample: closing the resample eventfd does not end it: the line is still lowered at the acknowledgement',
  async (kvm) => {
    using guest = new InterruptGuest(kvm);
    using line = EventFd.create();
    const resample = EventFd.create();
    guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
    guest.vm.irqfds.assign({ gsi: 10, resample }, line);
    resample[Symbol.dispose]();
    for (let rings = 1; rings <= 2; rings++) {
      line.signal();
      await guest.expect(0, rings);
    }
  },
);

kvmTest('closing the last descriptor deassigns, a moment later', async (kvm) => {
  using guest = new InterruptGuest(kvm);
  const line = EventFd.create();
  using resample = EventFd.create();
  guest.irqchip.redirect(10, { vector: MESSAGE.data, level: true });
  assert.equal(irqfd(guest.vm.fd, { fd: line.fd, gsi: 10, flags: RESAMPLE, resampleFd: resample.fd }), 'ok');
  line[Symbol.dispose]();
  kernelTurn(guest.vm);
  guest.irqchip.setLine(10, true);
  guest.irqchip.setLine(10, false);
  await guest.expect(0, 1);
  assert.equal(takeCount(resample), 0);
});

kvmTest('resample is taken on a GSI that leads to a message, and beside an irqfd without it', (kvm) => {
  using vm = kvm.createVm();
  vm.createIrqchip();
  vm.routing.set(MESSAGE_GSI, { msi: MESSAGE }).commit();
  using one = EventFd.create();
  using other = EventFd.create();
  using third = EventFd.create();
  using resample = EventFd.create();
  assert.equal(irqfd(vm.fd, { fd: one.fd, gsi: MESSAGE_GSI, flags: RESAMPLE, resampleFd: resample.fd }), 'ok');
  assert.equal(irqfd(vm.fd, { fd: other.fd, gsi: 10, flags: RESAMPLE, resampleFd: resample.fd }), 'ok');
  assert.equal(irqfd(vm.fd, { fd: third.fd, gsi: 10 }), 'ok');
});

kvmTest('resample with a split irqchip is EINVAL: it needs the whole of it in the kernel', (kvm, t) => {
  if (kvm.capability('KVM_CAP_SPLIT_IRQCHIP') === 0) return t.skip('this KVM has no split irqchip');
  using vm = kvm.createVm();
  const cap = zeroedStruct(104);
  cap.setUint32(0, 121, true);
  cap.setBigUint64(8, 24n, true);
  ioctlWithStruct(vm.fd, 'KVM_ENABLE_CAP');
  using line = EventFd.create();
  using resample = EventFd.create();
  assert.equal(irqfd(vm.fd, { fd: line.fd, flags: RESAMPLE, resampleFd: resample.fd }), 'EINVAL');
  assert.equal(irqfd(vm.fd, { fd: line.fd }), 'ok', 'without resample it does');
});
