// metrics: the process itself: memory, processor time of its threads, and how late its main thread runs.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface ProcessState {
  /** The median and the maximum, in seconds. */
  readonly lag: Readonly<Record<string, number>>;
  /** By kind, in bytes. */
  readonly memory: Readonly<Record<string, number>>;
  readonly cpuSeconds: number;
  readonly uptimeSeconds: number;
}

/** How often the lag is measured: each costs a wake-up of the main thread. */
const LAG_EVERY_MS = 100;
const KIB = 1024;
/** USER_HZ, which is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Measures the lag of the main thread until it is disposed of. */
export class ProcessWatch implements Disposable {
  readonly #lag = monitorEventLoopDelay({ resolution: LAG_EVERY_MS });

  constructor() {
    this.#lag.enable();
  }

  /** The lag is that since the last call. */
  read(): ProcessState {
    // The histogram has the time between two timers.
    const late = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, ns / 1e9 - LAG_EVERY_MS / 1000) : 0);
    const isEmpty = this.#lag.count === 0;
    const lag = { median: isEmpty ? 0 : late(this.#lag.percentile(50)), max: isEmpty ? 0 : late(this.#lag.max) };
    this.#lag.reset();
    const { user, system } = process.cpuUsage();
    return { lag, memory: memoryOfProcess(), cpuSeconds: (user + system) / 1e6, uptimeSeconds: process.uptime() };
  }

  [Symbol.dispose](): void {
    this.#lag.disable();
  }
}

/** proc_pid_status(5): what is shared includes guest memory and mapped images. */
function memoryOfProcess(): Record<string, number> {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): number => KIB * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  const heap = process.memoryUsage().heapUsed;
  return { private: field('RssAnon'), shared: field('RssFile') + field('RssShmem'), heap };
}

/** Processor time of a thread of this process; 0 for one that has ended. proc_pid_stat(5). */
export function threadCpuSeconds(threadId: number): number {
  try {
    const stat = readFileSync(`/proc/self/task/${threadId}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
