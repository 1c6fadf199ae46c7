// Ground floor: what the front end has said about one ring. Messages may come in any order; this knows when they suffice.
import type { EventFd } from '../../../sys/event-fd.ts';
import { ringFormatOf } from '../../../virtio/negotiated-format.ts';
import type { RingAreas } from '../../../virtio/ring-format.ts';
import type { CallTarget, QueueSetup } from '../../queue/queue-host.ts';
import type { GuestRegions } from './guest-regions.ts';

export class Vring {
  size = 0;
  /** Where to go on. Never guessed: requests before it would be served twice, those after it never. */
  base: number | undefined;
  /** In the front end's own address space. */
  areas: RingAreas | undefined;
  enabled = false;
  /** Whether the queue host was told to run it. */
  running = false;
  /** `null`: the front end said that no kicks will come. `undefined`: it has not said anything. */
  kick: EventFd | null | undefined;
  callFd: EventFd | undefined;
  err: EventFd | undefined;

  /** Whether the front end said all that belongs to a ring. */
  get isComplete(): boolean {
    const isDescribed = this.size > 0 && this.base !== undefined && this.areas !== undefined;
    return isDescribed && this.kick !== undefined && this.enabled;
  }

  /** What the queue host needs to run a complete ring. Throws ProtocolError for impossible addresses. */
  setup(features: bigint, regions: GuestRegions): QueueSetup {
    return {
      ...regions.ringAreas(ringFormatOf(features), this.size, this.areas as RingAreas),
      size: this.size,
      base: this.base as number,
      features,
      kickFd: this.kick?.fd,
      call: this.call,
      errFd: this.err?.fd,
    };
  }

  get call(): CallTarget | undefined {
    return this.callFd && { fd: this.callFd.fd };
  }

  setKick(kick: EventFd | null | undefined): void {
    this.kick?.[Symbol.dispose]();
    this.kick = kick;
  }

  setCall(call: EventFd | undefined): void {
    this.callFd?.[Symbol.dispose]();
    this.callFd = call;
  }

  setErr(err: EventFd | undefined): void {
    this.err?.[Symbol.dispose]();
    this.err = err;
  }

  /** Back to nothing said, but for where to notify: QEMU tells that once a connection. The ring does not run. */
  clear(): void {
    this.size = 0;
    this.base = undefined;
    this.areas = undefined;
    this.enabled = false;
    this.setKick(undefined);
  }

  /** Back to nothing said at all. */
  close(): void {
    this.clear();
    this.setCall(undefined);
    this.setErr(undefined);
  }
}
