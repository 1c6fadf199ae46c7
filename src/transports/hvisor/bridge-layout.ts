// hvisor: the bridge page that the hypervisor and the daemon share, and the numbers of /dev/hvisor.
//
// The page is little-endian and the same on every architecture. hvisor-tool's include/hvisor.h defines it.

export const BRIDGE_BYTES = 4096;
/** Slots of both rings. A ring is full when it has one less. */
export const BRIDGE_SLOTS = 32;
/** Synchronous accesses are answered by physical CPU. */
export const BRIDGE_CPUS = 32;
/** hvisor panics when a zone's first CPU has this many different interrupts pending. */
export const PENDING_INTERRUPTS_MAX = 7;

/** In bytes from the start of the page. */
export const BridgeOffset = {
  requestFront: 0,
  requestRear: 4,
  resultFront: 8,
  resultRear: 12,
  requests: 16,
  results: 1296,
  answerFlags: 1552,
  answerValues: 1808,
  needWakeup: 2129,
} as const;

/** struct device_req: an access of a zone to a device. */
export const REQUEST_BYTES = 40;
export const RequestOffset = {
  cpu: 0,
  address: 8,
  size: 16,
  value: 24,
  zone: 32,
  isWrite: 36,
  isAsynchronous: 37,
} as const;

/** struct device_res: the zone, and the interrupt to inject. */
export const RESULT_BYTES = 8;

/** ioctl(2) numbers. INIT_VIRTIO and FINISH_REQ take no argument; SET_EVENTFD takes the descriptor by value. */
export const HVISOR_INIT_VIRTIO = 0x100;
export const HVISOR_FINISH_REQ = 0x102;
export const HVISOR_SET_EVENTFD = 0x4004_0107;
