// Ground floor: what a back end notes of the requests it took, kept here for whoever comes after it (INFLIGHT_SHMFD of vhost-user).
import { closeFd } from '../../../sys/libc.ts';
import type { InflightMessage } from '../protocol/message.ts';
import { PROTOCOL_F_INFLIGHT_SHMFD } from '../protocol/spec.ts';
import type { Dialogue, FrontEndDialogue } from './front-end-dialogue.ts';

/** Rings of more are not made: it is the most that back ends take. */
const QUEUE_SIZE_MAX = 1024;

export class InflightNotes implements Disposable {
  readonly #queues: number;
  readonly #queueSize: number;
  #notes: (InflightMessage & { readonly fd: number }) | undefined;

  constructor(queueSizes: readonly number[]) {
    this.#queues = queueSizes.length;
    this.#queueSize = Math.min(Math.max(...queueSizes), QUEUE_SIZE_MAX);
  }

  /** Whether the back end there is now notes what it takes, and was given what its predecessor noted. */
  get isShared(): boolean {
    return this.#notes !== undefined;
  }

  /** Gives a back end the notes there are, or, when they are `stale`, has it make new ones. Before any queue starts. */
  *share(dialogue: FrontEndDialogue, stale: boolean): Dialogue<void> {
    const isOffered = dialogue.uses(PROTOCOL_F_INFLIGHT_SHMFD);
    if (stale || !isOffered) this[Symbol.dispose]();
    if (!isOffered) return;
    this.#notes ??= yield* dialogue.getInflight(this.#queues, this.#queueSize);
    yield* dialogue.setInflight(this.#notes);
  }

  [Symbol.dispose](): void {
    if (this.#notes !== undefined) closeFd(this.#notes.fd);
    this.#notes = undefined;
  }
}
