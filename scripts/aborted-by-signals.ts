// An AbortSignal that SIGINT and SIGTERM abort, for work that cleans up.

export function abortedBySignals(): AbortSignal {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort());
  return abort.signal;
}
