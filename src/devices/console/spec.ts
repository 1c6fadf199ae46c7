// virtio-console: the numbers of VIRTIO 1.3 §5.3, the console device.

// §5.3.3 Feature bits
export const VIRTIO_CONSOLE_F_SIZE = 1n << 0n; // cols and rows are valid
export const VIRTIO_CONSOLE_F_MULTIPORT = 1n << 1n; // more ports than one, and queues to control them
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 1n << 2n; // emerg_wr takes a character at any time

// §5.3.2 Virtqueues: those of port 0, which always exist; with MULTIPORT the control queues, and two for each port
export const RECEIVEQ = 0;
export const TRANSMITQ = 1;
export const CONTROL_RECEIVEQ = 2;
export const CONTROL_TRANSMITQ = 3;

/** The receive queue of a port; its transmit queue is the next one. */
export function receiveQueueOf(port: number): number {
  return port === 0 ? RECEIVEQ : 2 * port + 2;
}

/** The port of a queue that is no control queue. */
export function portOf(queue: number): number {
  return queue < CONTROL_RECEIVEQ ? 0 : (queue - 2) >> 1;
}

// §5.3.4 struct virtio_console_config: byte offsets
export const CONFIG_BYTES = 12;
export const CONFIG = {
  cols: 0, // le16
  rows: 2, // le16
  max_nr_ports: 4, // le32, with MULTIPORT
  emerg_wr: 8, // le32, with EMERG_WRITE
} as const;

// §5.3.6.2 struct virtio_console_control: byte offsets
export const CONTROL_BYTES = 8;
export const CONTROL = {
  id: 0, // le32, the port
  event: 4, // le16
  value: 6, // le16
} as const;

/** §5.3.6.2: the events of control messages. */
export const EVENT = {
  DEVICE_READY: 0, // driver: 1 for success
  DEVICE_ADD: 1, // device: a new port
  DEVICE_REMOVE: 2, // device: the port is gone
  PORT_READY: 3, // driver: 1 for success
  CONSOLE_PORT: 4, // device: the port is a console
  RESIZE: 5, // device: the size of its window follows
  PORT_OPEN: 6, // both: 1 for open
  PORT_NAME: 7, // device: its name follows, without a NUL
} as const;
