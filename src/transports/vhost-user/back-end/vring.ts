// vhost-user/back-end: the state of one ring as messages set it, in any order, and whether it is complete.
import type { EventFd } from '../../../sys/event-fd.ts';
import { ringFormatOf } from '../../../virtio/negotiated-format.ts';
import type { RingAreas } from '../../../virtio/ring-format.ts';
import type { CallTarget, QueueSetup } from '../../queue/queue-host.ts';
import type { GuestRegions } from './guest-regions.ts';

/** One ring of a session. Owns its eventfds. */
export class Vring {
  size = 0;
  /** Where to go on. No default: with a wrong base, requests are served twice or never. */
  base: number | undefined;
  /** User addresses: in the front end's address space. */
  areas: RingAreas | undefined;
  enabled = false;
  /** Whether the queue host runs it. */
  running = false;
  /** `null`: the front end sends no kicks (VRING_NOFD). `undefined`: no SET_VRING_KICK yet. */
  kick: EventFd | null | undefined;
  callFd: EventFd | undefined;
  err: EventFd | undefined;

  /** Whether size, base, areas and kick are set and the ring is enabled. */
  get isComplete(): boolean {
    const isDescribed = this.size > 0 && this.base !== undefined && this.areas !== undefined;
    return isDescribed && this.kick !== undefined && this.enabled;
  }

  /**
   * The setup of a complete ring for the queue host. Throws ProtocolError for addresses outside memory or unaligned.
   */
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

  /** Clears all but the call and error eventfds, which QEMU sends once a connection. The ring must not run. */
  clear(): void {
    this.size = 0;
    this.base = undefined;
    this.areas = undefined;
    this.enabled = false;
    this.setKick(undefined);
  }

  /** Clears everything. The ring must not run. */
  close(): void {
    this.clear();
    this.setCall(undefined);
    this.setErr(undefined);
  }
}
