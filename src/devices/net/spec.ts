// virtio-net: the numbers of VIRTIO 1.3 §5.1, the network device.

// §5.1.3 Feature bits
export const VIRTIO_NET_F_CSUM = 1n << 0n; // the device takes frames whose checksum is partial
export const VIRTIO_NET_F_GUEST_CSUM = 1n << 1n; // the driver takes them
export const VIRTIO_NET_F_MTU = 1n << 3n; // mtu is valid
export const VIRTIO_NET_F_MAC = 1n << 5n; // mac is valid
export const VIRTIO_NET_F_GUEST_TSO4 = 1n << 7n; // the driver takes frames longer than the MTU: TCP over IPv4
export const VIRTIO_NET_F_GUEST_TSO6 = 1n << 8n; // TCP over IPv6
export const VIRTIO_NET_F_GUEST_ECN = 1n << 9n; // TCP with ECN
export const VIRTIO_NET_F_GUEST_UFO = 1n << 10n; // UDP, to be fragmented
export const VIRTIO_NET_F_HOST_TSO4 = 1n << 11n; // the device takes them
export const VIRTIO_NET_F_HOST_TSO6 = 1n << 12n;
export const VIRTIO_NET_F_HOST_ECN = 1n << 13n;
export const VIRTIO_NET_F_HOST_UFO = 1n << 14n;
export const VIRTIO_NET_F_MRG_RXBUF = 1n << 15n; // a frame may be spread over several receive buffers
export const VIRTIO_NET_F_STATUS = 1n << 16n; // status is valid
export const VIRTIO_NET_F_CTRL_VQ = 1n << 17n; // there is a control queue
export const VIRTIO_NET_F_CTRL_RX = 1n << 18n; // it takes receive modes and MAC tables
export const VIRTIO_NET_F_CTRL_VLAN = 1n << 19n; // it takes VLAN filters
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 1n << 20n; // it takes further receive modes
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 1n << 21n; // the driver announces itself on request
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 1n << 23n; // it takes another MAC address
export const VIRTIO_NET_F_GUEST_USO4 = 1n << 54n; // UDP, to be segmented, over IPv4
export const VIRTIO_NET_F_GUEST_USO6 = 1n << 55n; // over IPv6
export const VIRTIO_NET_F_HOST_USO = 1n << 56n;

// §5.1.2 Virtqueues, without VIRTIO_NET_F_MQ
export const RECEIVEQ = 0;
export const TRANSMITQ = 1;
export const CONTROLQ = 2;

// §5.1.4 struct virtio_net_config: byte offsets, up to the last field that we have
export const CONFIG_BYTES = 12;
export const CONFIG = {
  mac: 0, // u8[6]
  status: 6, // le16
  max_virtqueue_pairs: 8, // le16, with MQ
  mtu: 10, // le16
} as const;
export const VIRTIO_NET_S_LINK_UP = 1;
export const VIRTIO_NET_S_ANNOUNCE = 2;
// "The device MUST set mtu to between 68 and 65535 inclusive"
export const MTU_MIN = 68;
export const MTU_MAX = 65535;

// §5.1.6 struct virtio_net_hdr: byte offsets
export const HEADER_BYTES = 12;
export const HEADER = {
  flags: 0, // u8
  gso_type: 1, // u8
  hdr_len: 2, // le16
  gso_size: 4, // le16
  csum_start: 6, // le16
  csum_offset: 8, // le16
  num_buffers: 10, // le16
} as const;
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
export const VIRTIO_NET_HDR_F_DATA_VALID = 2;
export const VIRTIO_NET_HDR_GSO_NONE = 0;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
export const VIRTIO_NET_HDR_GSO_UDP = 3;
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
export const VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
export const VIRTIO_NET_HDR_GSO_ECN = 0x80;

// §5.1.6.3 "the maximum incoming packet will be 65589 bytes long"
export const FRAME_BYTES_MAX = 65589;
// Destination, source and type. A tag of IEEE 802.1Q adds 4 bytes.
export const ETHERNET_BYTES = 14;
export const VLAN_TAG_BYTES = 4;
export const MAC_BYTES = 6;

// §5.1.6.5 Control virtqueue: struct virtio_net_ctrl { u8 class; u8 command; u8 data[]; u8 ack }
export const VIRTIO_NET_OK = 0;
export const VIRTIO_NET_ERR = 1;
export const VIRTIO_NET_CTRL_RX = 0;
export const VIRTIO_NET_CTRL_RX_PROMISC = 0;
export const VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
export const VIRTIO_NET_CTRL_RX_ALLUNI = 2;
export const VIRTIO_NET_CTRL_RX_NOMULTI = 3;
export const VIRTIO_NET_CTRL_RX_NOUNI = 4;
export const VIRTIO_NET_CTRL_RX_NOBCAST = 5;
export const VIRTIO_NET_CTRL_MAC = 1;
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0;
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
export const VIRTIO_NET_CTRL_VLAN = 2;
export const VIRTIO_NET_CTRL_VLAN_ADD = 0;
export const VIRTIO_NET_CTRL_VLAN_DEL = 1;
export const VIRTIO_NET_CTRL_ANNOUNCE = 3;
export const VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0;
