// doctor: limits of the kernel for this process: io_uring, and open files.
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { Finding } from './finding.ts';

const IO_URING_SWITCH = '/proc/sys/kernel/io_uring_disabled';
/** Twice what a device with 64 queues, its threads and its session need. */
const FILES_NEEDED = 512;

export function examineKernel(): Finding[] {
  return [ioUring(), openFiles()];
}

function ioUring(): Finding {
  const goodFor = 'qemu-storage-daemon with its engine io_uring, in belfry bench; Belfry itself does not use it yet';
  const finding = { name: 'io_uring', goodFor };
  const setting = existsSync(IO_URING_SWITCH) ? readFileSync(IO_URING_SWITCH, 'utf8').trim() : '';
  const allow = 'as root: sysctl kernel.io_uring_disabled=0';
  if (setting === '2') return { ...finding, state: 'absent', found: 'switched off for everybody', advice: allow };
  if (setting === '1' && process.getuid?.() !== 0)
    return { ...finding, state: 'absent', found: 'for privileged processes only', advice: allow };
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < 5 || (major === 5 && minor < 6))
    return { ...finding, state: 'absent', found: `Linux ${release()} is too old`, advice: 'it needs Linux 5.6' };
  const filtered = /^Seccomp:\s+2$/m.test(readFileSync('/proc/self/status', 'utf8'));
  const found = filtered ? 'switched on, but a seccomp filter is in place' : 'switched on';
  const advice = filtered ? 'containers tend to forbid it: docker run --security-opt seccomp=unconfined' : '';
  return { ...finding, state: 'ok', found, advice };
}

function openFiles(): Finding {
  const soft = limit('Max open files');
  const enough = soft >= FILES_NEEDED;
  return {
    name: 'open files',
    state: enough ? 'ok' : 'broken',
    found: `up to ${inWords(soft)} (RLIMIT_NOFILE)`,
    goodFor: 'a doorbell is two descriptors a queue, and guest memory one a region',
    advice: enough ? '' : 'ulimit -n 4096',
  };
}

/** The soft limit, or Infinity. */
function limit(name: string): number {
  const text = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
}

function inWords(count: number): string {
  return Number.isFinite(count) ? count.toLocaleString('en') : 'any number of';
}
