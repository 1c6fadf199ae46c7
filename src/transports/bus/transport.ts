// bus: the interface of a transport to the machine, and what it needs of the machine. `vmm` implements that
// with KVM.

import type { EventFd } from '../../sys/event-fd.ts';
import type { EventLoop } from '../../sys/event-loop.ts';
import type { Log } from '../../virtio/log.ts';
import type { DeviceHost } from '../queue/queue-host.ts';
import type { DeviceRegisters, DeviceRegistersOptions } from './device-registers.ts';

/** One device on a bus. */
export interface Transport {
  readonly registers: DeviceRegisters;
  /** Resets the device and releases everything. The caller has removed it from the bus. */
  close(): Promise<void>;
}

/** Options of every transport. */
export interface TransportOptions extends DeviceRegistersOptions {
  /** The device, and what runs its queues. */
  readonly host: DeviceHost;
  readonly loop: EventLoop;
  /** Takes each log line. */
  readonly log: Log;
  readonly doorbells: DoorbellPort;
}

/** A doorbell address. If `lengthBytes` is 0 its page must hold no register that can be read. */
export interface DoorbellPlace {
  /** Guest address. */
  readonly address: number;
  /** Length of the write; 0: any. */
  readonly lengthBytes: 0 | 4;
  /** Signal for this value only. Default: any value. */
  readonly value?: number;
}

/** Doorbells in the kernel: ioeventfds. */
export interface DoorbellPort {
  /** Makes the guest's writes signal the eventfd, until disposed. Throws SystemError if the kernel refuses. */
  assign(place: DoorbellPlace, eventFd: EventFd): Disposable;
}

/** An interrupt in the kernel: an irqfd. */
export interface InterruptPort {
  /**
   * Makes signals of the eventfd interrupt the guest, until disposed; an earlier count interrupts once. Throws
   * SystemError.
   */
  assign(eventFd: EventFd): Disposable;
}
