// vhost-user/front-end: keeps the memory in which a back end records requests in flight, for the back end after it
// (INFLIGHT_SHMFD).
import { closeFd } from '../../../sys/libc.ts';
import type { InflightMessage } from '../protocol/message.ts';
import { PROTOCOL_F_INFLIGHT_SHMFD } from '../protocol/spec.ts';
import type { FrontEndRequests } from './requests.ts';

/** The largest ring that back ends accept here. */
const QUEUE_SIZE_MAX = 1024;

/** The inflight memory of one device, over all its back ends. Owns the descriptor. */
export class InflightArea implements Disposable {
  readonly #queues: number;
  readonly #queueSize: number;
  #area: (InflightMessage & { readonly fd: number }) | undefined;

  constructor(queueSizes: readonly number[]) {
    this.#queues = queueSizes.length;
    this.#queueSize = Math.min(Math.max(...queueSizes), QUEUE_SIZE_MAX);
  }

  /** Whether the current back end records requests in flight, and was given the records of the one before it. */
  get isShared(): boolean {
    return this.#area !== undefined;
  }

  /**
   * Passes the area to a back end; if there is none, or it is `stale`, gets a new one from it. Before any queue starts.
   */
  async share(requests: FrontEndRequests, stale: boolean): Promise<void> {
    const isOffered = requests.uses(PROTOCOL_F_INFLIGHT_SHMFD);
    if (stale || !isOffered) this[Symbol.dispose]();
    if (!isOffered) return;
    this.#area ??= await requests.getInflight(this.#queues, this.#queueSize);
    await requests.setInflight(this.#area);
  }

  [Symbol.dispose](): void {
    if (this.#area !== undefined) closeFd(this.#area.fd);
    this.#area = undefined;
  }
}
