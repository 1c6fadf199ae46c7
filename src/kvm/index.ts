// kvm: the exports of `belfry/kvm`: virtual machines, their doorbells and their interrupts.

export { EventFd } from '../sys/event-fd.ts';
export { createMemfd } from '../sys/memfd.ts';
export type { MsiMessage } from '../sys/msi-message.ts';
export {
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_HLT,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_INTR,
  KVM_EXIT_IO,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
} from './constants.ts';
export { type CpuidEntry, setCpuid, supportedCpuid } from './cpuid.ts';
export type { Exits, MemoryAccess, PortAccess } from './exits.ts';
export type { GsiRouting, Route } from './gsi-routing.ts';
export { collides, type Doorbell, describeDoorbell, type IoEventFd, type IoEventFds } from './ioeventfd.ts';
export type { Irqchip, Redirection } from './irqchip.ts';
export type { IrqFd, IrqFdOptions, IrqFds } from './irqfd.ts';
export { Kvm } from './kvm.ts';
export type { MemorySlot, MemorySlots, SlotOptions } from './memory-slots.ts';
export {
  type GeneralRegisters,
  getMsrs,
  getRegisters,
  getSpecialRegisters,
  type Segment,
  type SpecialRegisters,
  setMsrs,
  setRegisters,
  setSpecialRegisters,
} from './registers.ts';
export type { Vcpu } from './vcpu.ts';
export { type VcpuHandler, type VcpuProgram, VcpuThread, type VcpuThreadOptions } from './vcpu-thread.ts';
export type { Vm } from './vm.ts';
