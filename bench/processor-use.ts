// bench: which processes used the processors: the back end, this process, or others, which disturb it. proc(5).
import { readdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';

/** /proc counts processor time in hundredths of a second, on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Processor time up to now. The difference of two samples is the time used in between. */
export interface ProcessorSample {
  readonly atMs: number;
  /** The back end's processor time and involuntary context switches, all threads; undefined: its process is unknown. */
  readonly backEndSeconds: number | undefined;
  readonly backEndSwitches: number | undefined;
  readonly ownSeconds: number;
  /** Processor time of all processes, and time the hypervisor gave to other machines. */
  readonly allSeconds: number;
  readonly stolenSeconds: number;
}

export interface ProcessorUse {
  /** Processors used on average: 1 is one of them all the time. */
  readonly backEnd: number | undefined;
  readonly backEndSeconds: number | undefined;
  readonly backEndInvoluntarySwitches: number | undefined;
  /** Used by neither side of the measurement: this should be close to 0. */
  readonly foreign: number;
  readonly stolen: number;
  readonly loadAverage: number;
}

/** @param pid the back end's process, where it is known. */
export function sampleProcessors(pid: number | undefined): ProcessorSample {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, stolen = 0] = machineTicks();
  const own = process.cpuUsage();
  return {
    atMs: performance.now(),
    backEndSeconds: pid === undefined ? undefined : processSeconds(pid),
    backEndSwitches: pid === undefined ? undefined : involuntarySwitchesOf(pid),
    ownSeconds: (own.user + own.system) / 1e6,
    allSeconds: (user + nice + system + irq + softIrq) / TICKS_PER_SECOND,
    stolenSeconds: stolen / TICKS_PER_SECOND,
  };
}

export function processorsBetween(from: ProcessorSample, to: ProcessorSample): ProcessorUse {
  const seconds = Math.max(1e-3, (to.atMs - from.atMs) / 1000);
  const backEndSeconds = difference(from.backEndSeconds, to.backEndSeconds);
  const ours = to.ownSeconds - from.ownSeconds + (backEndSeconds ?? 0);
  return {
    backEnd: backEndSeconds === undefined ? undefined : backEndSeconds / seconds,
    backEndSeconds,
    backEndInvoluntarySwitches: difference(from.backEndSwitches, to.backEndSwitches),
    // The time of an unknown back end cannot be told from that of others.
    foreign: backEndSeconds === undefined ? 0 : Math.max(0, (to.allSeconds - from.allSeconds - ours) / seconds),
    stolen: (to.stolenSeconds - from.stolenSeconds) / seconds,
    loadAverage: loadavg()[0] as number,
  };
}

/** What others used, where both sides of the measurement are threads of this process. */
export interface Disturbance {
  readonly seconds: number;
  /** Processor time of other processes and other machines. The kernel counts in ticks: inexact over a short time. */
  readonly foreignSeconds: number;
  readonly loadAverage: number;
}

export function disturbanceBetween(from: ProcessorSample, to: ProcessorSample): Disturbance {
  const others = to.allSeconds - from.allSeconds - (to.ownSeconds - from.ownSeconds);
  return {
    seconds: (to.atMs - from.atMs) / 1000,
    foreignSeconds: others + to.stolenSeconds - from.stolenSeconds,
    loadAverage: loadavg()[0] as number,
  };
}

/** What others used over several measurements. */
export interface Foreign {
  /** Processors that others used on average: 1 is one of them all the time. */
  readonly share: number;
  /** Enough to put the measurement in doubt, and more than the error of the kernel's ticks. */
  readonly isTooMuch: boolean;
}

/** From this share of a processor on, other work puts a measurement in doubt. */
export const FOREIGN_MAX = 0.1;

export function foreignOver(disturbances: readonly Disturbance[]): Foreign {
  const total = { seconds: 1e-3, foreignSeconds: 0 };
  for (const { seconds, foreignSeconds } of disturbances) {
    total.seconds += seconds;
    total.foreignSeconds += foreignSeconds;
  }
  const share = Math.max(0, total.foreignSeconds / total.seconds);
  // Each stretch can be wrong by a tick at either end.
  const resolution = (disturbances.length * 2) / TICKS_PER_SECOND / total.seconds;
  return { share, isTooMuch: share > FOREIGN_MAX + resolution };
}

/** The processors this process may run on. */
export function allowedProcessors(): number[] {
  const [, list = '0'] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return parseCpuList(list);
}

/** The processors that share a core with `cpu`, itself among them: two of these are not two cores. */
export function coreOf(cpu: number): number[] {
  const topology = `/sys/devices/system/cpu/cpu${cpu}/topology`;
  return parseCpuList(reading(() => readFileSync(`${topology}/thread_siblings_list`, 'utf8').trim()) ?? String(cpu));
}

/** Parses `0-2,5` as [0, 1, 2, 5]. */
export function parseCpuList(list: string): number[] {
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** utime and stime of /proc/PID/stat, counted behind the name, which may hold spaces and brackets. */
export function parseProcessSeconds(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function processSeconds(pid: number): number | undefined {
  return reading(() => parseProcessSeconds(readFileSync(`/proc/${pid}/stat`, 'utf8')));
}

function involuntarySwitchesOf(pid: number): number | undefined {
  return reading(() =>
    readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
      const status = reading(() => readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')) ?? '';
      return sum + Number(/^nonvoluntary_ctxt_switches:\s*(\d+)$/m.exec(status)?.[1] ?? 0);
    }, 0),
  );
}

function machineTicks(): number[] {
  const line = readFileSync('/proc/stat', 'utf8').split('\n')[0] as string;
  return line.split(/\s+/).slice(1).map(Number);
}

/** Returns what `read` returns; undefined where the process or thread has ended meanwhile. */
function reading<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function difference(from: number | undefined, to: number | undefined): number | undefined {
  return from === undefined || to === undefined ? undefined : to - from;
}
