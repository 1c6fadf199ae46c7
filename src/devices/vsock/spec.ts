// virtio-vsock: the numbers of VIRTIO 1.3 §5.10, the socket device.

// §5.10.3 Feature bits
export const VIRTIO_VSOCK_F_STREAM = 1n << 0n; // stream sockets
export const VIRTIO_VSOCK_F_SEQPACKET = 1n << 1n; // sockets that keep the boundaries of messages
export const VIRTIO_VSOCK_F_NO_IMPLIED_STREAM = 1n << 2n; // without F_STREAM there are no stream sockets

// §5.10.2 Virtqueues
export const RXQ = 0;
export const TXQ = 1;
export const EVENTQ = 2;

// §5.10.4 struct virtio_vsock_config { le64 guest_cid }
export const CONFIG_BYTES = 8;
/** 0 to 2 and 0xffffffff are reserved, and "The upper 32 bits of the CID are reserved and zeroed." */
export const CID_MIN = 3;
export const CID_MAX = 0xffff_fffe;
export const CID_HOST = 2;
export const PORT_MAX = 0xffff_ffff;

// §5.10.6 struct virtio_vsock_hdr: byte offsets
export const HEADER_BYTES = 44;
export const HEADER = {
  src_cid: 0, // le64
  dst_cid: 8, // le64
  src_port: 16, // le32
  dst_port: 20, // le32
  len: 24, // le32
  type: 28, // le16
  op: 30, // le16
  flags: 32, // le32
  buf_alloc: 36, // le32
  fwd_cnt: 40, // le32
} as const;

// §5.10.6.2 Addressing: the types of sockets
export const VIRTIO_VSOCK_TYPE_STREAM = 1;
export const VIRTIO_VSOCK_TYPE_SEQPACKET = 2;

// §5.10.6 op
export const VIRTIO_VSOCK_OP_REQUEST = 1;
export const VIRTIO_VSOCK_OP_RESPONSE = 2;
export const VIRTIO_VSOCK_OP_RST = 3;
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4;
export const VIRTIO_VSOCK_OP_RW = 5;
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6;
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7;

// §5.10.6.5 Flags of VIRTIO_VSOCK_OP_SHUTDOWN: bit 0 says that "the peer will not receive any more data", bit 1
// that "the peer will not send any more data"; "These hints are permanent once sent"
export const VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE = 1;
export const VIRTIO_VSOCK_SHUTDOWN_F_SEND = 2;
export const SHUTDOWN_BOTH = 3;

// §5.10.6.6 Flags of VIRTIO_VSOCK_OP_RW of a seqpacket socket
export const VIRTIO_VSOCK_SEQ_EOM = 1; // the last packet of a message
export const VIRTIO_VSOCK_SEQ_EOR = 2; // the last packet of a record

// §5.10.6.7 struct virtio_vsock_event { le32 id }
export const EVENT_BYTES = 4;
export const VIRTIO_VSOCK_EVENT_TRANSPORT_RESET = 0;
