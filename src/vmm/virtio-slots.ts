// The microVM: where virtio devices are plugged in: a window of virtio-mmio each, or a place on the PCI bus.

import type { Transport, TransportOptions } from '../transports/bus/transport.ts';
import type { DeviceHost } from '../transports/queue/queue-host.ts';
import type { Log } from '../virtio/log.ts';
import type { Machine } from './machine.ts';
import type { TransportName } from './transport-name.ts';
import { doorbellsOf } from './virtio-lines.ts';

/** A device, and what runs its queues. */
export interface Plugged {
  readonly host: DeviceHost;
  /** One line for each thing a person should know. */
  readonly log: Log;
}

export interface VirtioSlots {
  /** Before the machine boots; unplugged when it ends. Throws RangeError when all are taken, SystemError where the kernel refuses. */
  plug(plugged: Plugged): Transport;
}

/** Loads the transport that was asked for, and not the other. */
export async function virtioSlots(machine: Machine, transport: TransportName): Promise<VirtioSlots> {
  if (transport === 'mmio') return new (await import('./mmio-slots.ts')).MmioSlots(machine);
  return new (await import('./pci-slots.ts')).PciSlots(machine);
}

/** Closes a transport when the machine ends, having taken it off its bus. */
export function closeAtEnd(machine: Machine, transport: Transport, onBus?: Disposable): Transport {
  machine.closeAtEnd({
    close: () => {
      onBus?.[Symbol.dispose]();
      return transport.close();
    },
  });
  return transport;
}

/** What every transport of this machine is made with. */
export function optionsFor(machine: Machine, plugged: Plugged): TransportOptions {
  return { ...plugged, loop: machine.loop, doorbells: doorbellsOf(machine.vm) };
}
