// cli: the parser of `--poll`. Not in options.ts, so that most commands do not load src/daemon/poll-mode.ts.
import { InvalidArgumentError } from 'commander';
import { POLL_MAX_US, type PollMode } from '../daemon/poll-mode.ts';

/** Parses `off`, `auto`, or microseconds up to a second. */
export function pollMode(text: string): PollMode {
  if (text === 'off' || text === 'auto') return text;
  const us = Number(text);
  if (text.trim() === '' || !Number.isFinite(us) || us < 0 || us > POLL_MAX_US) {
    throw new InvalidArgumentError(`It takes off, auto, or microseconds up to ${POLL_MAX_US}.`);
  }
  return us;
}
