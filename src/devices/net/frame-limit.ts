// virtio-net: how many frames and bytes may go one way in a second.
import { RateLimiter } from '../../virtio/rate-limiter.ts';

/** The limit of one direction; what is absent is not limited. */
export interface FrameRate {
  /** A whole number, 1 or more. A frame that is segmented behind the card counts once. */
  readonly framesPerSecond?: number | undefined;
  /** A whole number, 1 or more. All bytes of a frame from its Ethernet header on. */
  readonly bytesPerSecond?: number | undefined;
  /** What is saved up while nothing is moved, in seconds of both: above 0. Default 1. */
  readonly burstSeconds?: number | undefined;
}

/**
 * The limit of one direction. A frame may go while no bucket is in debt, and is taken from all of them: so a frame that is
 * larger than what a bucket holds goes too, and the next ones wait for it.
 */
export class FrameLimit {
  readonly #frames: RateLimiter | undefined;
  readonly #bytes: RateLimiter | undefined;

  /** Throws RangeError for a value out of range. */
  constructor({ framesPerSecond, bytesPerSecond, burstSeconds }: FrameRate) {
    for (const [name, value] of Object.entries({ framesPerSecond, bytesPerSecond }))
      if (value !== undefined && !(Number.isInteger(value) && value >= 1))
        throw new RangeError(`${name} is ${value}: a whole number above 0 is wanted`);
    if (burstSeconds !== undefined && !(burstSeconds > 0))
      throw new RangeError(`burstSeconds is ${burstSeconds}: a number above 0 is wanted`);
    if (framesPerSecond !== undefined) this.#frames = new RateLimiter(framesPerSecond, burstSeconds);
    if (bytesPerSecond !== undefined) this.#bytes = new RateLimiter(bytesPerSecond, burstSeconds);
  }

  /** Returns 0 where a frame may go now, else how many whole ms to sleep. */
  waitMs(): number {
    return Math.max(this.#frames?.msUntil(1) ?? 0, this.#bytes?.msUntil(1) ?? 0);
  }

  take(bytes: number): void {
    this.#frames?.take(1);
    this.#bytes?.take(bytes);
  }
}

/** Undefined where nothing is limited. Throws RangeError. */
export function frameLimit(rate: FrameRate | undefined): FrameLimit | undefined {
  const isLimited = rate?.framesPerSecond !== undefined || rate?.bytesPerSecond !== undefined;
  return isLimited ? new FrameLimit(rate) : undefined;
}
