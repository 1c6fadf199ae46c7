// bench: the machine of a measurement.
import { cpus, release } from 'node:os';

export interface Machine {
  readonly cpuModel: string;
  readonly cpus: number;
  readonly kernel: string;
  readonly node: string;
}

export function thisMachine(): Machine {
  const processors = cpus();
  return {
    cpuModel: processors[0]?.model ?? 'unknown',
    cpus: processors.length,
    kernel: release(),
    node: process.version,
  };
}

export function machineLine({ cpus: count, cpuModel, kernel, node }: Machine): string {
  return `${count} x ${cpuModel}, Linux ${kernel}, Node ${node}`;
}
