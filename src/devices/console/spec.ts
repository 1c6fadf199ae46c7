// virtio-console: the numbers of VIRTIO 1.3 §5.3, the console device.

// §5.3.3 Feature bits
export const VIRTIO_CONSOLE_F_SIZE = 1n << 0n; // cols and rows are valid
export const VIRTIO_CONSOLE_F_MULTIPORT = 1n << 1n; // more ports than one, and queues to control them
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 1n << 2n; // emerg_wr takes a character at any time

// §5.3.2 Virtqueues: those of port 0, which always exist
export const RECEIVEQ = 0;
export const TRANSMITQ = 1;

// §5.3.4 struct virtio_console_config: byte offsets
export const CONFIG_BYTES = 12;
export const CONFIG = {
  cols: 0, // le16
  rows: 2, // le16
  max_nr_ports: 4, // le32, with MULTIPORT
  emerg_wr: 8, // le32, with EMERG_WRITE
} as const;
