// A signal for what cleans up when it is aborted, aborted when somebody ends this process.

export function abortedBySignals(): AbortSignal {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort());
  return abort.signal;
}
