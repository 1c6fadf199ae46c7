// The microVM: virtio-pci: a bus whose functions the guest finds by itself, and messages for interrupts.

import type { PciMemory } from '../transports/bus/pci/bar-windows.ts';
import { VirtioPci } from '../transports/bus/pci/virtio-pci.ts';
import type { Registers } from '../transports/bus/registers.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { PCI_WINDOW, PORTS } from './address-map.ts';
import type { Machine } from './machine.ts';
import { PCI_PORTS_BYTES, PciBus } from './pci-bus.ts';
import { MessageGsis } from './virtio-lines.ts';
import { closeAtEnd, optionsFor, type Plugged, type VirtioSlots } from './virtio-slots.ts';

export class PciSlots implements VirtioSlots {
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
