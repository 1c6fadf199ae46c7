// test/kvm: a program for a vCPU's thread: counts port writes up to a number, or fails on request.
import { KVM_EXIT_IO } from '../../src/kvm/constants.ts';
import type { Vcpu } from '../../src/kvm/vcpu.ts';
import type { VcpuHandler } from '../../src/kvm/vcpu-thread.ts';

export interface SpinData {
  readonly exits: number;
  readonly failure?: 'at the start' | 'at an exit';
}

export function vcpuProgram(vcpu: Vcpu, { exits, failure }: SpinData): VcpuHandler {
  if (failure === 'at the start') throw new Error('no start');
  let seen = 0;
  return {
    onExit(reason) {
      if (reason !== KVM_EXIT_IO) throw new Error(vcpu.exits.describe());
      if (failure === 'at an exit') throw new Error('no exit');
      return ++seen < exits;
    },
    result: () => seen,
  };
}
