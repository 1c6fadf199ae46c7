// Ground floor: the memory in which a back end notes the requests it took, kept here for the back end that comes after it (INFLIGHT_SHMFD).
import { closeFd } from '../../../sys/libc.ts';
import type { InflightMessage } from '../protocol/message.ts';
import { PROTOCOL_F_INFLIGHT_SHMFD } from '../protocol/spec.ts';
import type { FrontEndRequests } from './requests.ts';

/** Rings of more are not made: it is the most that back ends take. */
const QUEUE_SIZE_MAX = 1024;

export class InflightArea implements Disposable {
  readonly #queues: number;
  readonly #queueSize: number;
  #area: (InflightMessage & { readonly fd: number }) | undefined;

  constructor(queueSizes: readonly number[]) {
    this.#queues = queueSizes.length;
    this.#queueSize = Math.min(Math.max(...queueSizes), QUEUE_SIZE_MAX);
  }

  /** Whether the back end there is now notes what it takes, and was given what its predecessor noted. */
  get isShared(): boolean {
    return this.#area !== undefined;
  }

  /** Gives a back end the area there is, or, when it is `stale`, has it make a new one. Before any queue starts. */
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
