// test/kvm: a program for a vCPU's thread: passes a doorbell's exit on by eventfd, and ends at a write to the end port.
import { KVM_EXIT_IO } from '../../src/kvm/constants.ts';
import type { Vcpu } from '../../src/kvm/vcpu.ts';
import type { VcpuHandler } from '../../src/kvm/vcpu-thread.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { DONE_PORT } from './run-guest.ts';

export function vcpuProgram(vcpu: Vcpu, { trapFd }: { readonly trapFd: number }): VcpuHandler {
  const trap = EventFd.borrow(trapFd);
  let trapped = 0;
  return {
    onExit(reason) {
      if (reason !== KVM_EXIT_IO) throw new Error(vcpu.exits.describe());
      if (vcpu.exits.io.port === DONE_PORT) return false;
      trap.signal();
      trapped++;
      return true;
    },
    result: () => trapped,
  };
}
