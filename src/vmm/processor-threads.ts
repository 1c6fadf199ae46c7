// The microVM: threads for its processors. They take longer to start than all the rest: who is in a hurry begins with them.
import { SpareThread } from '../kvm/spare-thread.ts';
import { moduleBeside } from '../sys/thread.ts';

const PROGRAM = moduleBeside('./exit-program', import.meta.url);

/** One for each processor, to be given to `new Machine`. */
export function processorThreads(cpus: number): SpareThread[] {
  return Array.from({ length: cpus }, () => new SpareThread(PROGRAM));
}
