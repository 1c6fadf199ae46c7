// virtio-rng, §5.4: fills the driver's buffers with random bytes.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf, isLater, type MaybePromise, settleAll } from '../../virtio/maybe-promise.ts';
import { RateLimiter } from '../../virtio/rate-limiter.ts';
import { VIRTIO_ID_ENTROPY } from '../../virtio/spec.ts';

/**
 * The bytes of one request at most: the device "MAY use less than the entire buffer length" (§5.4.6.2), and a driver
 * may ask for 4 GiB.
 */
const REQUEST_BYTES_MAX = 64 * 1024;
/** With a limit: buffers used in one turn, and the time in which the bytes of one wake-up flow in. */
const BUFFERS_A_TURN = 64;
const WAKE_UPS_A_SECOND = 20;
const BYTES_PER_SECOND_MAX = 2 ** 40;

/**
 * Overwrites `bytes` with random ones, at most 64 KiB, synchronously or with a promise. `bytes` is guest memory: do not
 * keep it. `signal` is aborted when the queue has to stop and this takes too long.
 */
export type FillRandom = (bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal) => unknown;

/** The options of a source of entropy. */
export interface RngDeviceOptions {
  /** How many random bytes the driver gets in a second: a whole number from 1 to 2^40. Absent: no limit. */
  readonly bytesPerSecond?: number | undefined;
  /** What is saved up while the driver asks for nothing, in seconds of `bytesPerSecond`: above 0. Default 1. */
  readonly burstSeconds?: number | undefined;
}

const fillFromKernel: FillRandom = (bytes) => crypto.getRandomValues(bytes);

/**
 * A source of entropy for the guest's /dev/hwrng. Where `fill` throws or rejects, that is logged and the kernel's
 * generator is used instead: a driver must get at least one random byte, and Linux makes no further request after a
 * used length of 0.
 *
 * @param fill the source. Default: Node's `crypto`, which is the kernel's generator.
 * @example
 * serve(new RngDevice(), { vhostUser: '/tmp/rng.sock' });
 * serve(new RngDevice(undefined, { bytesPerSecond: 1024 }), { vhostUser: '/tmp/rng.sock' });
 */
export class RngDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_ENTROPY;
  readonly features = 0n;
  readonly queueSizes = [1024];
  readonly #fill: FillRandom;
  readonly #limiter: RateLimiter | undefined;
  #context: DeviceContext | undefined;
  #timer: Disposable | undefined;

  /** Throws RangeError for a limit out of range. */
  constructor(fill = fillFromKernel, { bytesPerSecond, burstSeconds }: RngDeviceOptions = {}) {
    this.#fill = fill;
    if (bytesPerSecond === undefined) return;
    if (!(Number.isInteger(bytesPerSecond) && bytesPerSecond >= 1 && bytesPerSecond <= BYTES_PER_SECOND_MAX))
      throw new RangeError(`bytesPerSecond is ${bytesPerSecond}: a whole number from 1 to 2^40 is wanted`);
    if (burstSeconds !== undefined && !(burstSeconds > 0))
      throw new RangeError(`burstSeconds is ${burstSeconds}: a number above 0 is wanted`);
    this.#limiter = new RateLimiter(bytesPerSecond, burstSeconds);
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  process(_index: number, queue: DeviceQueue): void {
    if (this.#limiter === undefined) queue.drain(this.#serveAll);
    else {
      this.#serveWithin(this.#limiter, queue);
      queue.publish();
    }
  }

  /** Buffers beyond the limit stay in the ring. A timer, and no notification, ends the wait. */
  #serveWithin(limiter: RateLimiter, queue: DeviceQueue): void {
    const enough = Math.max(1, Math.floor(limiter.size / WAKE_UPS_A_SECOND));
    for (let i = 0; i < BUFFERS_A_TURN; i++) {
      const waitMs = limiter.msUntil(enough);
      if (waitMs > 0) return this.#sleep(waitMs, queue);
      const chain = queue.take();
      if (chain === undefined) return;
      limiter.take(this.#serve(chain, queue, Math.floor(limiter.tokens)));
    }
    queue.again();
  }

  #sleep(waitMs: number, queue: DeviceQueue): void {
    this.#timer ??= this.#context?.timer(waitMs, () => {
      this.#timer = undefined;
      this.process(0, queue);
    });
  }

  queueStopping(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  readonly #serveAll = (chain: DescriptorChain, queue: DeviceQueue): void => {
    this.#serve(chain, queue, REQUEST_BYTES_MAX);
  };

  /** Fills at most `most` bytes of a buffer, now or later. Returns how many that are. */
  #serve(chain: DescriptorChain, queue: DeviceQueue, most: number): number {
    const length = Math.min(chain.writable.totalBytes, REQUEST_BYTES_MAX, most);
    const pieces = chain.writable.range(0, length);
    const answer = this.#fillAll(pieces, queue.signal);
    if (isLater(answer)) {
      answer.then(() => {
        queue.markUsed(chain, length);
        queue.publish();
      });
    } else queue.markUsed(chain, length);
    return length;
  }

  /** Never throws, and never rejects. */
  #fillAll(pieces: readonly Uint8Array<ArrayBuffer>[], signal: AbortSignal): MaybePromise<void> {
    const answers: PromiseLike<void>[] = [];
    const instead = (error: unknown): void => {
      this.#context?.log(`the source of random numbers failed, the kernel's is used instead: ${causeOf(error)}`);
      for (const piece of pieces) fillFromKernel(piece, signal);
    };
    try {
      for (const piece of pieces) {
        const answer = this.#fill(piece, signal);
        if (isLater(answer)) answers.push(answer);
      }
    } catch (error) {
      answers.push(Promise.reject(error));
    }
    if (answers.length > 0) return settleAll(answers).catch(instead);
  }
}
