// The microVM: virtio-mmio: a window and a line of the IOAPIC for each device.

import { VirtioMmio } from '../transports/bus/mmio/virtio-mmio.ts';
import type { Transport } from '../transports/bus/transport.ts';
import { GSIS, VIRTIO_MMIO } from './address-map.ts';
import type { Machine } from './machine.ts';
import { lineOf } from './virtio-lines.ts';
import { closeAtEnd, optionsFor, type Plugged, type VirtioSlots } from './virtio-slots.ts';

export class MmioSlots implements VirtioSlots {
  readonly #machine: Machine;
  #used = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  plug(plugged: Plugged): Transport {
    const machine = this.#machine;
    const slot = this.#used++;
    const gsi = GSIS.virtioMmio[slot];
    if (gsi === undefined) throw new RangeError(`virtio-mmio takes ${GSIS.virtioMmio.length} devices: PCI takes more`);
    const address = VIRTIO_MMIO.start + slot * VIRTIO_MMIO.sizeBytes;
    const transport = new VirtioMmio({ ...optionsFor(machine, plugged), address, interrupt: lineOf(machine.vm, gsi) });
    machine.describeMmio(slot);
    return closeAtEnd(machine, transport, machine.memory.add(address, VIRTIO_MMIO.sizeBytes, transport));
  }
}
