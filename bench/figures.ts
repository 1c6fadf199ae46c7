// bench: formats figures for tables and charts. Pure.
import type { Foreign } from './processor-use.ts';

/** 1234 as 1.2k, 1_500_000 as 1.50M. */
export function formatCount(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  return value >= 1e3 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
}

export function formatGibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(2);
}

/** Formats a time in µs with about three digits. */
export function formatMicros(us: number): string {
  return us >= 1000 ? us.toFixed(0) : us >= 10 ? us.toFixed(1) : us.toFixed(2);
}

/** A ratio, as in 1.03x. */
export function formatTimes(ratio: number): string {
  return `${ratio.toFixed(ratio >= 10 ? 1 : 2)}x`;
}

/** Formats `each`, a count for one request, as a count for 1000 requests. */
export function formatPerThousand(each: number): string {
  const value = each * 1000;
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

/** Formats the processors that others used; `!` where the measurement is in doubt because of them. */
export function formatForeign({ share, isTooMuch }: Foreign): string {
  return `${share.toFixed(2)}${isTooMuch ? ' !' : ''}`;
}

/** `1 round`, `2 rounds`. */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}
