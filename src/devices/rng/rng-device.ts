// virtio-rng, §5.4: fills the driver's buffers with random bytes.
import type { DescriptorChain } from '../../virtio/descriptor-chain.ts';
import type { DeviceContext, VirtioDevice } from '../../virtio/device.ts';
import type { DeviceQueue } from '../../virtio/device-queue.ts';
import { causeOf, isLater, type MaybePromise, settleAll } from '../../virtio/maybe-promise.ts';
import { VIRTIO_ID_ENTROPY } from '../../virtio/spec.ts';

/**
 * The bytes of one request at most: the device "MAY use less than the entire buffer length" (§5.4.6.2), and a driver
 * may ask for 4 GiB.
 */
const REQUEST_BYTES_MAX = 64 * 1024;

/**
 * Overwrites `bytes` with random ones, at most 64 KiB, synchronously or with a promise. `bytes` is guest memory: do not
 * keep it. `signal` is aborted when the queue has to stop and this takes too long.
 */
export type FillRandom = (bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal) => unknown;

const fillFromKernel: FillRandom = (bytes) => crypto.getRandomValues(bytes);

/**
 * A source of entropy for the guest's /dev/hwrng. Where `fill` throws or rejects, that is logged and the kernel's
 * generator is used instead: a driver must get at least one random byte, and Linux makes no further request after a
 * used length of 0.
 *
 * @param fill the source. Default: Node's `crypto`, which is the kernel's generator.
 * @example
 * serve(new RngDevice(), { vhostUser: '/tmp/rng.sock' });
 */
export class RngDevice implements VirtioDevice {
  readonly type = VIRTIO_ID_ENTROPY;
  readonly features = 0n;
  readonly queueSizes = [1024];
  readonly #fill: FillRandom;
  #context: DeviceContext | undefined;

  constructor(fill = fillFromKernel) {
    this.#fill = fill;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  process(_index: number, queue: DeviceQueue): void {
    queue.drain(this.#serve);
  }

  readonly #serve = (chain: DescriptorChain, queue: DeviceQueue): void => {
    const length = Math.min(chain.writable.totalBytes, REQUEST_BYTES_MAX);
    const pieces = chain.writable.range(0, length);
    const answer = this.#fillAll(pieces, queue.signal);
    if (!isLater(answer)) return queue.markUsed(chain, length);
    answer.then(() => {
      queue.markUsed(chain, length);
      queue.publish();
    });
  };

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
