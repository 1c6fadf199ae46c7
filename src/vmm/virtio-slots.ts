// vmm: the slots of virtio devices: a virtio-mmio window each, or a number on the PCI bus.
import { VirtioMmio } from '../transports/bus/mmio/virtio-mmio.ts';
import type { PciMemory } from '../transports/bus/pci/bar-windows.ts';
import { VirtioPci } from '../transports/bus/pci/virtio-pci.ts';
import type { Registers } from '../transports/bus/registers.ts';
import type { Transport, TransportOptions } from '../transports/bus/transport.ts';
import type { DeviceHost } from '../transports/queue/queue-host.ts';
import type { Log } from '../virtio/log.ts';
import { GSIS, PCI_WINDOW, PORTS, type TransportName, VIRTIO_MMIO } from './address-map.ts';
import type { Machine } from './machine.ts';
import { PCI_PORTS_BYTES, PciBus } from './pci-bus.ts';
import { doorbellsOf, lineOf, MessageGsis } from './virtio-lines.ts';

/** A device with its host, and its log. */
export interface Plugged {
  readonly host: DeviceHost;
  /** Takes each log line. */
  readonly log: Log;
}

export interface VirtioSlots {
  /**
   * Plugs a device in, before the machine boots; it is removed at the end. Throws RangeError when all slots are used,
   * or SystemError.
   */
  plug(plugged: Plugged): Transport;
}

/** Returns the slots of `machine` on the given bus. */
export function virtioSlots(machine: Machine, transport: TransportName): VirtioSlots {
  return transport === 'mmio' ? new MmioSlots(machine) : new PciSlots(machine);
}

/** Throws RangeError where a machine has no slots for so many devices. */
export function checkSlots(transport: TransportName, count: number): void {
  if (transport === 'mmio' && count > GSIS.virtioMmio.length)
    throw new RangeError(`virtio-mmio takes ${GSIS.virtioMmio.length} devices: PCI takes more`);
}

/** Makes the machine remove a transport from its bus and close it at the end. */
function closeAtEnd(machine: Machine, transport: Transport, onBus?: Disposable): Transport {
  machine.closeAtEnd({
    close: () => {
      onBus?.[Symbol.dispose]();
      return transport.close();
    },
  });
  return transport;
}

/** The common options of this machine's transports. */
function optionsFor(machine: Machine, plugged: Plugged): TransportOptions {
  return { ...plugged, loop: machine.loop, doorbells: doorbellsOf(machine.vm) };
}

/** virtio-mmio: a window and a line of the IOAPIC for each device. */
class MmioSlots implements VirtioSlots {
  readonly #machine: Machine;
  #used = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  plug(plugged: Plugged): Transport {
    const machine = this.#machine;
    const slot = this.#used++;
    checkSlots('mmio', slot + 1);
    const gsi = GSIS.virtioMmio[slot]!;
    const address = VIRTIO_MMIO.start + slot * VIRTIO_MMIO.sizeBytes;
    const transport = new VirtioMmio({ ...optionsFor(machine, plugged), address, interrupt: lineOf(machine.vm, gsi) });
    machine.describeMmio(slot);
    return closeAtEnd(machine, transport, machine.memory.add(address, VIRTIO_MMIO.sizeBytes, transport));
  }
}

/** virtio-pci: a PCI bus, and messages for interrupts. */
class PciSlots implements VirtioSlots {
  readonly #machine: Machine;
  readonly #bus = new PciBus();
  readonly #messages: MessageGsis;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#messages = new MessageGsis(machine.vm);
    machine.ports.add(PORTS.pciConfig, PCI_PORTS_BYTES, this.#bus);
    machine.describePci();
  }

  plug(plugged: Plugged): Transport {
    const memory: PciMemory = { add: (start, sizeBytes, registers) => this.#show(start, sizeBytes, registers) };
    const messages = this.#messages.port();
    const transport = new VirtioPci({ ...optionsFor(this.#machine, plugged), memory, messages });
    this.#bus.add(transport.config);
    return closeAtEnd(this.#machine, transport);
  }

  #show(start: number, sizeBytes: number, registers: Registers): Disposable {
    if (start < PCI_WINDOW.start || start + sizeBytes > PCI_WINDOW.end)
      throw new RangeError(`0x${start.toString(16)} is outside the window of PCI devices`);
    return this.#machine.memory.add(start, sizeBytes, registers);
  }
}
