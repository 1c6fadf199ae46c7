// vhost-user/protocol: the numbers of the vhost-user protocol (QEMU docs/interop/vhost-user.rst), with its current names.

// Message header: { u32 request; u32 flags; u32 size } in native byte order, then `size` bytes of payload
export const HEADER_BYTES = 12;
export const VERSION = 0x1; // lower two bits of flags
export const VERSION_MASK = 0x3;
export const REPLY = 1 << 2; // this is a reply
export const NEED_REPLY = 1 << 3; // REPLY_ACK: answer with u64 0 or an error even if this message has no reply of its own

/** Front-end messages. */
export const Request = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

/** Back-end messages, sent over the socket of SET_BACKEND_REQ_FD. */
export const BackendRequest = {
  CONFIG_CHANGE_MSG: 2,
} as const;

/** "VHOST_USER_F_PROTOCOL_FEATURES": a feature bit that gates everything below. */
export const F_PROTOCOL_FEATURES = 1n << 30n;

/** "VHOST_F_LOG_ALL": mark every page that is written, a feature bit. */
export const F_LOG_ALL = 1n << 26n;

export const PROTOCOL_F_MQ = 1n << 0n;
export const PROTOCOL_F_LOG_SHMFD = 1n << 1n;
export const PROTOCOL_F_REPLY_ACK = 1n << 3n;
export const PROTOCOL_F_BACKEND_REQ = 1n << 5n;
export const PROTOCOL_F_CONFIG = 1n << 9n;
export const PROTOCOL_F_BACKEND_SEND_FD = 1n << 10n;
export const PROTOCOL_F_HOST_NOTIFIER = 1n << 11n;
export const PROTOCOL_F_INFLIGHT_SHMFD = 1n << 12n;
export const PROTOCOL_F_RESET_DEVICE = 1n << 13n;
export const PROTOCOL_F_CONFIGURE_MEM_SLOTS = 1n << 15n;
export const PROTOCOL_F_STATUS = 1n << 16n;

// SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR: u64
export const VRING_INDEX_MASK = 0xff;
export const VRING_NOFD = 1 << 8; // no descriptor comes with the message: poll

/** Regions in one SET_MEM_TABLE. */
export const MEM_TABLE_REGIONS_MAX = 8;
/** Descriptors in one message: at most one for each region of SET_MEM_TABLE. */
export const MESSAGE_FDS_MAX = 8;
/** Regions with CONFIGURE_MEM_SLOTS: the same as rust-vmm; QEMU uses at most 512. */
export const MEM_SLOTS_MAX = 509;
/** The largest configuration space: VHOST_USER_MAX_CONFIG_SIZE. */
export const CONFIG_BYTES_MAX = 256;
/** Limit of a payload's size. The largest payload is SET_MEM_TABLE's: 8 bytes and 8 regions of 32. */
export const PAYLOAD_BYTES_MAX = 1024;

const names = new Map<number, string>(Object.entries(Request).map(([name, code]) => [code, name]));

/** The name of a request, as in `SET_VRING_KICK`, or `message 99` for an unknown one. */
export function requestName(code: number): string {
  return names.get(code) ?? `message ${code}`;
}
