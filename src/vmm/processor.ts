// vmm: its processors: the thread of each, and its CPUID.
import type { CpuidEntry } from '../kvm/cpuid.ts';
import { SpareThread } from '../kvm/spare-thread.ts';
import { moduleBeside } from '../sys/thread.ts';

const PROGRAM = moduleBeside('./exit-program', import.meta.url);

const LEAF = { features: 1, cache: 4, topology: 0xb, topology2: 0x1f, amdSizes: 0x8000_0008, amdTopology: 0x8000_001e };

const HYPERVISOR = 1 << 31;
const TSC_DEADLINE = 1 << 24;
/** HTT in EDX: the field of logical processors is valid; set if there is more than one. */
const MULTITHREADED = 1 << 28;

const LEVEL_THREAD = 1;
const LEVEL_CORE = 2;

export interface ProcessorOptions {
  readonly index: number;
  readonly cpus: number;
  /**
   * KVM_CAP_TSC_DEADLINE_TIMER: KVM_GET_SUPPORTED_CPUID never reports it, since it depends on the irqchip (api.rst
   * 4.46).
   */
  readonly hasTscDeadline: boolean;
}

/**
 * Starts a thread for each processor, for `new Machine`. Call it early: threads take longer to start than all the rest.
 */
export function processorThreads(cpus: number): SpareThread[] {
  return Array.from({ length: cpus }, () => new SpareThread(PROGRAM));
}

/**
 * Returns the entries for one vCPU: all vCPUs are in one package, each a core of its own. Does not change `supported`.
 */
export function cpuidFor(supported: readonly CpuidEntry[], options: ProcessorOptions): CpuidEntry[] {
  return supported.flatMap((entry) => {
    if (entry.leaf === LEAF.topology || entry.leaf === LEAF.topology2) {
      return entry.subleaf === 0 ? topologyLeaf(entry, options) : [];
    }
    return [{ ...entry, ...changes(entry, options) }];
  });
}

function changes(entry: CpuidEntry, { index, cpus, hasTscDeadline }: ProcessorOptions): Partial<CpuidEntry> {
  switch (entry.leaf) {
    case LEAF.features:
      return {
        ebx: ((entry.ebx & 0xffff) | (Math.min(cpus, 255) << 16) | (index << 24)) >>> 0,
        ecx: (entry.ecx | HYPERVISOR | (hasTscDeadline ? TSC_DEADLINE : 0)) >>> 0,
        edx: (cpus > 1 ? entry.edx | MULTITHREADED : entry.edx & ~MULTITHREADED) >>> 0,
      };
    case LEAF.cache: {
      // Bits 31-26 and 25-14: cores in the package, and threads that share this cache, both less one.
      const shared = ((entry.eax >>> 5) & 7) >= 3 ? (1 << idBits(cpus)) - 1 : 0;
      const cores = Math.min((1 << idBits(cpus)) - 1, 0x3f);
      return (entry.eax & 0x1f) === 0 ? {} : { eax: ((entry.eax & 0x3fff) | (cores << 26) | (shared << 14)) >>> 0 };
    }
    case LEAF.amdSizes:
      return { ecx: ((idBits(cpus) << 12) | (cpus - 1)) >>> 0 };
    case LEAF.amdTopology:
      return { eax: index, ebx: index, ecx: 0 };
    default:
      return {};
  }
}

/** How many bits of an APIC id the processors of the package need. */
function idBits(cpus: number): number {
  return 32 - Math.clz32(cpus - 1);
}

/** Threads of a core, cores of the package, and the end of the list. Each has the x2APIC id. */
function topologyLeaf(entry: CpuidEntry, { index, cpus }: ProcessorOptions): CpuidEntry[] {
  const levels = [
    { eax: 0, ebx: 1, ecx: LEVEL_THREAD << 8 },
    { eax: idBits(cpus), ebx: cpus, ecx: LEVEL_CORE << 8 },
    { eax: 0, ebx: 0, ecx: 0 },
  ];
  return levels.map(({ eax, ebx, ecx }, subleaf) => {
    return { leaf: entry.leaf, subleaf, flags: 1, eax, ebx, ecx: ecx | subleaf, edx: index };
  });
}
