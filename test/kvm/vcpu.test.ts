// Registers, CPUID, and being kicked out of the guest, against the real kernel.
import assert from 'node:assert/strict';
import { KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_MP_STATE_RUNNABLE } from '../../src/kvm/constants.ts';
import { setCpuid, supportedCpuid } from '../../src/kvm/cpuid.ts';
import {
  getMsrs,
  getRegisters,
  getSpecialRegisters,
  resetFloatingPoint,
  setMsrs,
  setRegisters,
  setSpecialRegisters,
} from '../../src/kvm/registers.ts';
import { threadId } from '../../src/sys/thread-signal.ts';
import { Payload } from '../../src/testing/payload.ts';
import { PayloadGuest } from '../../src/testing/payload-guest.ts';
import { kvmTest } from './kvm-case.ts';

kvmTest('general registers are what was set, and 0 where nothing was', (kvm) => {
  using vm = kvm.createVm();
  using vcpu = vm.createVcpu(0);
  setRegisters(vcpu.fd, { rax: 0x1234_5678_9abc_def0n, r15: 15n, rip: 0x1000n });
  const { rax, rbx, r15, rip, rflags } = getRegisters(vcpu.fd);
  assert.deepEqual([rax, rbx, r15, rip, rflags], [0x1234_5678_9abc_def0n, 0n, 15n, 0x1000n, 2n]);
});

kvmTest('special registers after reset are those of the manual, and keep what is set', (kvm) => {
  using vm = kvm.createVm();
  using vcpu = vm.createVcpu(0);
  const registers = getSpecialRegisters(vcpu.fd);
  assert.deepEqual([registers.cs.selector, registers.cs.base, registers.cs.limit], [0xf000, 0xffff_0000n, 0xffff]);
  assert.equal(registers.cr0 & 1n, 0n);
  assert.equal(registers.apicBase & 0xffff_f000n, 0xfee0_0000n);
  registers.gs.base = 0x1234_0000n;
  registers.idt = { base: 0x5000n, limit: 0xfff };
  registers.cr3 = 0x9000n;
  setSpecialRegisters(vcpu.fd, registers);
  const again = getSpecialRegisters(vcpu.fd);
  assert.deepEqual([again.gs.base, again.idt, again.cr3], [0x1234_0000n, { base: 0x5000n, limit: 0xfff }, 0x9000n]);
  resetFloatingPoint(vcpu.fd);
});

kvmTest('a payload leaves its results in the registers', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().set('ebx', 42).decrement('ebx').hlt());
  guest.start();
  assert.equal(guest.vcpu.run(), KVM_EXIT_HLT);
  assert.equal(getRegisters(guest.vcpu.fd).rbx, 41n);
});

const IA32_SYSENTER_CS = 0x174;
const IA32_PAT = 0x277;

kvmTest('model-specific registers are what was set; one that KVM does not have is named', (kvm) => {
  using vm = kvm.createVm();
  using vcpu = vm.createVcpu(0);
  setMsrs(vcpu.fd, [
    [IA32_SYSENTER_CS, 8n],
    [IA32_PAT, 0x0007_0406_0007_0406n],
  ]);
  assert.deepEqual(getMsrs(vcpu.fd, [IA32_PAT, IA32_SYSENTER_CS]), [0x0007_0406_0007_0406n, 8n]);
  assert.throws(() => getMsrs(vcpu.fd, [IA32_PAT, 0x4bad_cafe]), /KVM_GET_MSRS: EINVAL: register 0x4badcafe/);
  assert.throws(() => setMsrs(vcpu.fd, [[0x4bad_cafe, 1n]]), /KVM_SET_MSRS: EINVAL: register 0x4badcafe/);
});

kvmTest('the guest reads the CPUID that was set', (kvm) => {
  const entries = supportedCpuid(kvm.fd);
  const vendor = entries.find(({ leaf }) => leaf === 0);
  assert.ok(vendor !== undefined && entries.length > 5);
  vendor.ebx = 0x6c6c_6542;
  // cpuid of leaf 0, then ebx into memory.
  const payload = new Payload().set('eax', 0).raw(0x0f, 0xa2).store(0x3000, 'ebx').hlt();
  using guest = new PayloadGuest(kvm, payload);
  setCpuid(guest.vcpu.fd, entries);
  guest.start();
  assert.equal(guest.vcpu.run(), KVM_EXIT_HLT);
  assert.equal(guest.words[0xc00], 0x6c6c_6542);
});

kvmTest('an index that is taken, or beyond KVM_CAP_MAX_VCPU_ID, is refused in words', (kvm) => {
  using vm = kvm.createVm();
  using _vcpu = vm.createVcpu(0);
  assert.throws(() => vm.createVcpu(0), /KVM_CREATE_VCPU: EEXIST: vCPU 0: .*each index is used once/);
  assert.throws(() => vm.createVcpu(1 << 20), { code: 'EINVAL' });
});

kvmTest('with an irqchip the second vCPU waits to be started; it can be made to run', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().hlt(), { irqchip: true });
  using second = guest.vm.createVcpu(1);
  assert.equal(guest.vcpu.multiprocessingState, KVM_MP_STATE_RUNNABLE);
  assert.notEqual(second.multiprocessingState, KVM_MP_STATE_RUNNABLE);
  second.makeRunnable();
  assert.equal(second.multiprocessingState, KVM_MP_STATE_RUNNABLE);
});

kvmTest('a kick before KVM_RUN is not lost: the guest does not run, and then it does', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().incrementMemory(0x3000).hlt());
  guest.start();
  guest.vcpu.kick(threadId());
  assert.equal(guest.vcpu.run(), KVM_EXIT_INTR);
  assert.equal(guest.words[0xc00], 0);
  assert.equal(guest.vcpu.run(), KVM_EXIT_HLT);
  assert.equal(guest.words[0xc00], 1);
});

kvmTest('a kick completes the access the guest waits for, and runs no further instruction', (kvm) => {
  using guest = new PayloadGuest(kvm, new Payload().set('edx', 0xe0).in(1).incrementMemory(0x3000).hlt());
  guest.start();
  assert.equal(guest.vcpu.run(), KVM_EXIT_IO);
  guest.vcpu.exits.io.value = 0x5a;
  guest.vcpu.kick(threadId());
  assert.equal(guest.vcpu.run(), KVM_EXIT_INTR);
  assert.equal(getRegisters(guest.vcpu.fd).rax & 0xffn, 0x5an);
  assert.equal(guest.words[0xc00], 0);
});

kvmTest('special registers that contradict each other are refused in words', (kvm) => {
  using vm = kvm.createVm();
  using vcpu = vm.createVcpu(0);
  const registers = getSpecialRegisters(vcpu.fd);
  // Paging without protection.
  const broken = { ...registers, cr0: 1n << 31n };
  assert.throws(() => setSpecialRegisters(vcpu.fd, broken), /KVM_SET_SREGS: EINVAL: the mode bits/);
});
