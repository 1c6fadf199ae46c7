// The microVM: the buses that a virtio device can be found on.

export const TRANSPORTS = ['mmio', 'pci'] as const;
export type TransportName = (typeof TRANSPORTS)[number];
