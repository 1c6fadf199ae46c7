// cli: formats numbers with their units: bytes, rates, times, percent.

/** Formats bytes as B, KiB, MiB or GiB. */
export function bytes(n: number): string {
  if (n > 0 && n < 1024) return `${n} B`;
  if (n > 0 && n < 2 ** 20) return `${(n / 1024).toFixed(0)} KiB`;
  return n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : `${(n / 2 ** 20).toFixed(n < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** Formats `n` bytes in `ms` as a rate a second; empty where `ms` is 0. */
export function rate(n: number, ms: number): string {
  return ms > 0 ? `${bytes((n * 1000) / ms)}/s` : '';
}

export function micros(us: number): string {
  return us >= 1000 ? `${(us / 1000).toFixed(1)} ms` : `${us.toFixed(us < 10 ? 1 : 0)} µs`;
}

export function millis(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

/** Formats `part` of `whole` in whole percent, rounded down; 0 % where `whole` is 0. */
export function percent(part: number, whole: number): string {
  return `${whole === 0 ? 0 : Math.floor((100 * part) / whole)} %`;
}

/** `1 queue`, `2 queues`, `1,024 queues`. */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}
