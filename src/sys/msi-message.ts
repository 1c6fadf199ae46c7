// Cellar: an interrupt as a message (MSI), as a device writes it: what PCI's table holds and KVM's routes take.

/** PCI's address and data. */
export interface MsiMessage {
  /** 0xfee…: which processor. Up to 64 bits. */
  readonly address: number;
  /** Which vector, and how. */
  readonly data: number;
}
