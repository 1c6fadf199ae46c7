// Ground floor: what the front end has said about one ring. Messages may come in any order; this knows when they suffice.
import type { EventFd } from '../../../sys/event-fd.ts';
import type { RingAddresses } from '../../../virtio/split/split-ring.ts';
import type { QueueSetup } from '../../queue/queue-host.ts';
import type { GuestRegions } from './guest-regions.ts';

export class Vring {
  size = 0;
  /** Never guessed: requests before it would be served twice, those after it never. */
  base: number | undefined;
  /** In the front end's own address space. */
  addresses: RingAddresses | undefined;
  enabled = false;
  /** Whether the queue host runs it. */
  running = false;
  /** `null`: the front end said that no kicks will come. `undefined`: it has not said anything. */
  kick: EventFd | null | undefined;
  call: EventFd | undefined;
  err: EventFd | undefined;

  /** What the queue host needs to run it, or undefined while something is missing. Throws ProtocolError for impossible addresses. */
  setup(features: bigint, regions: GuestRegions): QueueSetup | undefined {
    if (
      this.size === 0 ||
      this.base === undefined ||
      this.addresses === undefined ||
      this.kick === undefined ||
      !this.enabled ||
      regions.count === 0
    )
      return undefined;
    return {
      size: this.size,
      base: this.base,
      features,
      ...regions.ringAddresses(this.size, this.addresses),
      kickFd: this.kick?.fd,
      callFd: this.call?.fd,
      errFd: this.err?.fd,
    };
  }

  setKick(kick: EventFd | null | undefined): void {
    this.kick?.[Symbol.dispose]();
    this.kick = kick;
  }

  setCall(call: EventFd | undefined): void {
    this.call?.[Symbol.dispose]();
    this.call = call;
  }

  setErr(err: EventFd | undefined): void {
    this.err?.[Symbol.dispose]();
    this.err = err;
  }

  /** Back to nothing said, but for whom to notify: QEMU tells that once a connection. The ring does not run. */
  clear(): void {
    this.size = 0;
    this.base = undefined;
    this.addresses = undefined;
    this.enabled = false;
    this.setKick(undefined);
  }

  close(): void {
    this.setKick(undefined);
    this.setCall(undefined);
    this.setErr(undefined);
  }
}
