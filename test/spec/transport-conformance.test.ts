// test/spec: one suite over every transport: registers in memory, a PCI function, vhost-user, hvisor's bridge; with doorbells or not.
import { HvisorDriver } from '../../src/testing/hvisor-driver.ts';
import { MmioDriver } from '../../src/testing/mmio-driver.ts';
import { PciDriver } from '../../src/testing/pci-driver.ts';
import { transportConformance } from '../../src/testing/transport-conformance.ts';
import { VhostUserDriver } from '../../src/testing/vhost-user-driver.ts';

transportConformance('virtio-mmio', (device, guest) => new MmioDriver(device, guest));
transportConformance(
  'virtio-mmio without doorbells',
  (device, guest) => new MmioDriver(device, guest, { refusesDoorbells: true }),
);
transportConformance('virtio-pci', (device, guest) => new PciDriver(device, guest));
transportConformance(
  'virtio-pci without doorbells',
  (device, guest) => new PciDriver(device, guest, { refusesDoorbells: true }),
);
transportConformance('vhost-user', (device, guest) => new VhostUserDriver(device, guest));
transportConformance('hvisor', (device, guest) => new HvisorDriver(device, guest));
