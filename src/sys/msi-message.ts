// sys: a message-signalled interrupt (MSI): what an entry of PCI's MSI-X table holds and a route of KVM takes.

/** The address and the data of the write, as PCI defines them. */
export interface MsiMessage {
  /** Selects the processor: 0xfee… on x86. Up to 64 bits. */
  readonly address: number;
  /** The vector, and how it is delivered. */
  readonly data: number;
}
