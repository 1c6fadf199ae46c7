// Upper floor: `--poll`, as it is typed. Apart from options.ts, since polling is more than most commands need to load.
import { InvalidArgumentError } from 'commander';
import { POLL_MAX_US, type PollMode } from '../daemon/poll-mode.ts';

/** `off`, `auto`, or microseconds up to a second. */
export function pollMode(text: string): PollMode {
  if (text === 'off' || text === 'auto') return text;
  const us = Number(text);
  if (text.trim() === '' || !Number.isFinite(us) || us < 0 || us > POLL_MAX_US) {
    throw new InvalidArgumentError(`It takes off, auto, or microseconds up to ${POLL_MAX_US}.`);
  }
  return us;
}
