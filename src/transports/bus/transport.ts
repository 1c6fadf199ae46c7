// Ground floor: a transport as whoever owns the machine sees it; and what it needs of the machine. `vmm` makes that of KVM.

import type { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { Log } from '../../virtio/log.ts';
import type { DeviceHost } from '../queue/queue-host.ts';
import type { DeviceRegisters, DeviceRegistersOptions } from './device-registers.ts';

/** One device on a bus, and the driver that finds it there. */
export interface Transport {
  readonly registers: DeviceRegisters;
  /** Ends it as a reset does, and gives everything back. It is off the bus by then. */
  close(): Promise<void>;
}

/** What every transport is made with. */
export interface TransportOptions extends DeviceRegistersOptions {
  /** The device, and what runs its queues. */
  readonly host: DeviceHost;
  readonly loop: EventLoop;
  /** One line for each thing a person should know. */
  readonly log: Log;
  readonly doorbells: DoorbellPort;
}

/** A doorbell address. If `lengthBytes` is 0 its page must hold no register that can be read. */
export interface DoorbellPlace {
  /** Guest address. */
  readonly address: number;
  /** 0: any. */
  readonly lengthBytes: 0 | 4;
  /** Rings for this value alone. */
  readonly value?: number;
}

/** Doorbells in the kernel. */
export interface DoorbellPort {
  /** Has the guest's write ring the eventfd, until disposed. Throws SystemError where the kernel will not. */
  assign(place: DoorbellPlace, eventFd: EventFd): Disposable;
}

/** An interrupt in the kernel. */
export interface InterruptPort {
  /** Has a ring of the eventfd interrupt the guest, until disposed; what is counted already interrupts once. Throws SystemError. */
  assign(eventFd: EventFd): Disposable;
}
