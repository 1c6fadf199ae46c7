// vmm: the DSDT: devices that a guest cannot discover: serial port, virtio-mmio windows, PCI bridge; and how to
// power off.
import { GSIS, PCI_WINDOW, PORTS, VIRTIO_MMIO } from './address-map.ts';
import * as aml from './aml.ts';

/** The sleep type that `_S5` names: the guest writes it to PM1_CNT to power off. */
export const SLEEP_TYPE_S5 = 5;

export interface DescribedDevices {
  /** The virtio-mmio windows in use, by slot. */
  readonly mmioSlots: readonly number[];
  readonly hasPci: boolean;
}

/** The definition block: the body of the DSDT. */
export function definitionBlock({ mmioSlots, hasPci }: DescribedDevices): Uint8Array<ArrayBuffer> {
  const zero = aml.integer(0);
  return Uint8Array.from([
    ...aml.name('\\_S5', aml.list(aml.integer(SLEEP_TYPE_S5), aml.integer(SLEEP_TYPE_S5), zero, zero)),
    ...aml.scope('\\_SB', serialPort(), ...mmioSlots.map(virtioMmio), ...(hasPci ? [pciBridge()] : [])),
  ]);
}

function serialPort(): aml.Aml {
  return aml.device(
    'COM1',
    aml.name('_HID', aml.eisaId('PNP0501')),
    aml.name('_UID', aml.integer(1)),
    aml.name('_CRS', aml.resources(aml.ioPorts(PORTS.serial, 8), aml.edgeInterrupt(GSIS.serial))),
  );
}

function virtioMmio(slot: number): aml.Aml {
  const window = aml.fixedMemory(VIRTIO_MMIO.start + slot * VIRTIO_MMIO.sizeBytes, VIRTIO_MMIO.sizeBytes);
  return aml.device(
    `VR${`${slot}`.padStart(2, '0')}`,
    aml.name('_HID', aml.string('LNRO0005')),
    aml.name('_UID', aml.integer(slot)),
    // Without _CCA Linux assumes that the DMA of an ACPI device is not coherent.
    aml.name('_CCA', aml.integer(1)),
    aml.name('_CRS', aml.resources(window, aml.edgeInterrupt(GSIS.virtioMmio[slot] as number))),
  );
}

function pciBridge(): aml.Aml {
  const resources = aml.resources(
    aml.passedOn('busNumbers', 0, 1),
    aml.ioPorts(PORTS.pciConfig, 8),
    aml.passedOn('memory', PCI_WINDOW.start, PCI_WINDOW.end),
  );
  return aml.device(
    'PCI0',
    aml.name('_HID', aml.eisaId('PNP0A03')),
    aml.name('_UID', aml.integer(0)),
    aml.name('_CRS', resources),
  );
}
