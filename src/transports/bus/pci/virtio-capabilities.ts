// bus/pci: the capabilities by which a driver finds virtio's structures in a function's BARs, VIRTIO 1.3 §4.1.4.
import type { DeviceRegisters } from '../device-registers.ts';
import type { Registers } from '../registers.ts';
import type { ConfigSpace } from './config-space.ts';
import * as pci from './spec.ts';

interface Structure {
  readonly type: number;
  readonly offset: number;
  readonly sizeBytes: number;
  /** The word after struct virtio_pci_cap. */
  readonly extra?: number;
}

/**
 * Adds a capability for each structure in BAR 0, and VIRTIO_PCI_CAP_PCI_CFG, a window to BAR 0 that needs no mapping.
 */
export function addVirtioCapabilities(config: ConfigSpace, registers: DeviceRegisters, bar0: Registers): void {
  const { common, isr, device, notify } = pci.Bar0;
  const notifyBytes = registers.queues.length * pci.NOTIFY_MULTIPLIER;
  const structures: Structure[] = [
    { type: pci.VIRTIO_PCI_CAP_COMMON_CFG, offset: common, sizeBytes: pci.COMMON_CONFIG_BYTES },
    { type: pci.VIRTIO_PCI_CAP_NOTIFY_CFG, offset: notify, sizeBytes: notifyBytes, extra: pci.NOTIFY_MULTIPLIER },
    { type: pci.VIRTIO_PCI_CAP_ISR_CFG, offset: isr, sizeBytes: 1 },
    { type: pci.VIRTIO_PCI_CAP_DEVICE_CFG, offset: device, sizeBytes: registers.configBytes },
  ];
  for (const structure of structures) if (structure.sizeBytes > 0) addCapability(config, structure);
  addWindow(config, bar0);
}

function addCapability(config: ConfigSpace, { type, offset, sizeBytes, extra }: Structure): number {
  const length = pci.VIRTIO_CAPABILITY_BYTES + (extra === undefined ? 0 : 4);
  const at = config.addCapability(pci.PCI_CAP_ID_VNDR, length);
  config.define(at + pci.VirtioCapability.length, 1, length);
  config.define(at + pci.VirtioCapability.type, 1, type);
  config.define(at + pci.VirtioCapability.offset, 4, offset);
  config.define(at + pci.VirtioCapability.sizeBytes, 4, sizeBytes);
  if (extra !== undefined) config.define(at + pci.VirtioCapability.extra, 4, extra);
  return at;
}

/**
 * §4.1.4.9: an access to `pci_cfg_data` is an access to the BAR, at the offset and of the size that the driver wrote
 * before.
 */
function addWindow(config: ConfigSpace, bar0: Registers): void {
  const at = addCapability(config, { type: pci.VIRTIO_PCI_CAP_PCI_CFG, offset: 0, sizeBytes: 0, extra: 0 });
  const data = at + pci.VirtioCapability.extra;
  config.define(at + pci.VirtioCapability.bar, 1, 0, 0xff);
  for (const field of [at + pci.VirtioCapability.offset, at + pci.VirtioCapability.sizeBytes, data])
    config.define(field, 4, 0, 0xffff_ffff);
  const target = (): { offset: number; sizeBytes: 1 | 2 | 4 } | undefined => {
    const offset = config.view.getUint32(at + pci.VirtioCapability.offset, true);
    const sizeBytes = config.view.getUint32(at + pci.VirtioCapability.sizeBytes, true);
    if (sizeBytes !== 1 && sizeBytes !== 2 && sizeBytes !== 4) return undefined;
    const isBar0 = config.view.getUint8(at + pci.VirtioCapability.bar) === 0;
    return isBar0 && offset % sizeBytes === 0 && offset < pci.BAR0_BYTES ? { offset, sizeBytes } : undefined;
  };
  config.listen(data, 4, {
    beforeRead: () => {
      const to = target();
      if (to !== undefined) config.view.setUint32(data, bar0.read(to.offset, to.sizeBytes), true);
    },
    afterWrite: () => {
      const to = target();
      if (to === undefined) return;
      const value = config.view.getUint32(data, true);
      return bar0.write(to.offset, to.sizeBytes, value % 2 ** (8 * to.sizeBytes));
    },
  });
}
