// doctor: all findings about this machine, group by group.
import type { FindingGroup } from './finding.ts';
import { examineKernel } from './kernel.ts';
import { examineKvm } from './kvm.ts';
import { examineMemory } from './memory.ts';
import { examineFrontEnds, examineTools } from './programs.ts';
import { examineRuntime } from './runtime.ts';

/** Changes nothing. Takes as long as the slowest program takes to print its version, or a kernel to start. */
export async function examineMachine(): Promise<FindingGroup[]> {
  return [
    { title: 'This runtime', findings: examineRuntime() },
    { title: 'This kernel', findings: [examineKvm(), ...examineMemory(), ...examineKernel()] },
    { title: 'Virtual machines for a disk', findings: await examineFrontEnds() },
    { title: 'Peers and tools', findings: await examineTools() },
  ];
}
