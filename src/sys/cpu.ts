// sys: processor affinity, preemptions and processor time. sched_setaffinity(2), getrusage(2), clock_gettime(2).
import { CLOCK_THREAD_CPUTIME_ID, RUSAGE_THREAD, THREAD_CPU_CLOCK } from './constants.ts';
import { check, libc } from './libc.ts';
import { callScratch } from './scratch.ts';

const MASK_BYTES = 128;

/** Pins a thread (0: this one) to one processor. Throws SystemError EINVAL when there is no such processor. */
export function pinThread(thread: number, cpu: number): void {
  callScratch.bytes.fill(0, 0, MASK_BYTES);
  callScratch.bytes[cpu >> 3] = 1 << (cpu & 7);
  // SAFETY: a cpu_set_t of 128 bytes in this thread's scratch.
  check(
    libc.sched_setaffinity(thread, BigInt(MASK_BYTES), callScratch.address),
    'sched_setaffinity',
    `there is no processor ${cpu}`,
  );
}

/** How often this thread was preempted while it had work: struct rusage, ru_nivcsw. */
export function involuntarySwitches(): number {
  // SAFETY: a struct rusage of 144 bytes in this thread's scratch.
  check(libc.getrusage(RUSAGE_THREAD, callScratch.address), 'getrusage');
  return Number(callScratch.view.getBigInt64(136, true));
}

/**
 * Returns the processor time so far of a thread of this process (0: this one), in ns. It includes the time of a guest
 * that the thread runs. It is exact, while getrusage(2) counts clock ticks. Throws SystemError EINVAL when there is no
 * such thread.
 */
export function threadCpuNs(thread = 0): number {
  // pthread_getcpuclockid(3): the clock id is the complement of the thread id, and below it the kind of clock.
  const clock = thread === 0 ? CLOCK_THREAD_CPUTIME_ID : (~thread << 3) | THREAD_CPU_CLOCK;
  // SAFETY: a struct timespec of 16 bytes in this thread's scratch.
  check(libc.clock_gettime(clock, callScratch.address), 'clock_gettime');
  return Number(callScratch.view.getBigInt64(0, true)) * 1e9 + Number(callScratch.view.getBigInt64(8, true));
}
