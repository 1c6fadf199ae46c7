// bench/threads: processor time of the thread that asks.

/** Exact, unlike the ticks of /proc. getrusage(2), RUSAGE_THREAD. */
export function threadSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1e6;
}
