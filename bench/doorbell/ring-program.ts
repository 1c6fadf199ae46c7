// bench/doorbell: the exit loop: user space between a guest that rings and an eventfd. Runs on the vCPU's thread.
import type { MessagePort } from 'node:worker_threads';
import { EventFd, KVM_EXIT_IO, KVM_EXIT_MMIO, type Vcpu, type VcpuHandler } from '../../src/kvm/index.ts';
import { involuntarySwitches, threadCpuNs } from '../../src/sys/cpu.ts';
import { PORTS } from './ring-paths.ts';

export interface RingSetup {
  readonly bellFd: number;
  readonly runs: MessagePort;
}

/** The cost of one run of the guest's loop. */
export interface RingRun {
  readonly elapsedMs: number;
  /** Rings that left the guest. */
  readonly exits: number;
  /** Processor time of this thread, the guest's included. */
  readonly cpuSeconds: number;
  readonly involuntarySwitches: number;
}

export function vcpuProgram(vcpu: Vcpu, { bellFd, runs }: RingSetup): VcpuHandler {
  const { io } = vcpu.exits;
  const bell = EventFd.borrow(bellFd);
  let exits = 0;
  let startedMs = 0;
  let before = usage();
  const tell = (port: number): void => {
    if (port === PORTS.start) {
      exits = 0;
      before = usage();
      startedMs = performance.now();
    } else {
      const elapsedMs = performance.now() - startedMs;
      const after = usage();
      const cpuSeconds = (after.cpuNs - before.cpuNs) / 1e9;
      const switches = after.switches - before.switches;
      runs.postMessage({ elapsedMs, exits, cpuSeconds, involuntarySwitches: switches } satisfies RingRun);
    }
  };
  return {
    onExit(reason) {
      if (reason === KVM_EXIT_MMIO || (reason === KVM_EXIT_IO && io.port === PORTS.ring)) {
        bell.signal();
        exits++;
      } else if (reason === KVM_EXIT_IO) tell(io.port);
      else throw new Error(vcpu.exits.describe());
      return true;
    },
  };
}

function usage(): { cpuNs: number; switches: number } {
  return { cpuNs: threadCpuNs(), switches: involuntarySwitches() };
}
