// sys: a packet socket on a network interface: Ethernet frames, each with a struct virtio_net_hdr in front. packet(7).
import { constants as os } from 'node:os';
import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { writeIovecs } from './iovec.ts';
import { check, closeFd, errno, libc, SystemError, systemError } from './libc.ts';
import { callScratch, Scratch } from './scratch.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
/** ETH_P_ALL in network byte order. */
const EVERY_PROTOCOL = 0x0300;
/** struct sockaddr_ll { u16 family; be16 protocol; i32 ifindex; … }, struct packet_mreq { i32 ifindex; u16 type; … } */
const ADDRESS_BYTES = 20;
const MEMBERSHIP_BYTES = 16;

/** The kernel's header has no num_buffers. It is read behind 2 bytes, so that the frame begins behind 12. */
const KERNEL_HEADER_BYTES = 10;
const HEADER_BYTES = 12;
/** Longer than any frame: 64 KiB of TCP with its headers. */
const PACKET_BYTES = 68 * 1024;

/** What `read` returns: a frame with its header, nothing yet, a frame that the kernel cannot describe, link down. */
export type PacketRead = Uint8Array | 'none' | 'skipped' | 'down';

/** An open packet socket, bound to one interface, which is promiscuous as long as it is open. No call blocks. */
export class PacketSocket implements Disposable {
  readonly fd: number;
  readonly name: string;
  readonly #index: number;
  readonly #input = new Scratch(PACKET_BYTES);
  #isOpen = true;

  private constructor(fd: number, name: string, index: number) {
    this.fd = fd;
    this.#index = index;
    this.name = name;
  }

  /** Opens a socket on the interface `name`. Throws SystemError that says what to do: ENODEV, EPERM, ENETDOWN. */
  static open(name: string): PacketSocket {
    const index = indexOf(name);
    if (index === 0)
      throw new SystemError('if_nametoindex', 'ENODEV', `there is no interface ${name}: "ip link" lists them`);
    // Without a protocol nothing is received before it is bound.
    const fd = libc.socket(AF_PACKET, SOCK_RAW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0) throw openError(name);
    try {
      setOption(fd, PACKET_VNET_HDR, 1, name);
      setOption(fd, PACKET_IGNORE_OUTGOING, 1, name);
      const { bytes, view, address } = callScratch;
      bytes.fill(0, 0, ADDRESS_BYTES);
      view.setInt32(0, index, true);
      view.setUint16(4, PACKET_MR_PROMISC, true);
      // SAFETY: struct packet_mreq in this thread's scratch until the call returns.
      const joined = libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, address, MEMBERSHIP_BYTES);
      check(joined, 'PACKET_ADD_MEMBERSHIP', name);
      bytes.fill(0, 0, ADDRESS_BYTES);
      view.setUint16(0, AF_PACKET, true);
      view.setUint16(2, EVERY_PROTOCOL, true);
      view.setInt32(4, index, true);
      // SAFETY: struct sockaddr_ll, as above.
      check(libc.bind(fd, address, ADDRESS_BYTES), 'bind', name);
      return new PacketSocket(fd, name, index);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Whether the interface was removed, or another has its name. */
  get isGone(): boolean {
    return indexOf(this.name) !== this.#index;
  }

  /**
   * Reads one frame. Returns its bytes with a header of 12 bytes in front, valid until the next call; `down` once when the
   * interface goes down or away. Throws SystemError.
   */
  read(): PacketRead {
    const { bytes, address } = this.#input;
    const start = HEADER_BYTES - KERNEL_HEADER_BYTES;
    // SAFETY: the buffer is this object's, and has room behind its first 2 bytes.
    const length = Number(libc.read(this.fd, address + BigInt(start), BigInt(PACKET_BYTES - start)));
    if (length < 0) return failedRead(this.name);
    if (length < KERNEL_HEADER_BYTES) return 'skipped';
    bytes.copyWithin(0, start, HEADER_BYTES);
    bytes.fill(0, KERNEL_HEADER_BYTES, HEADER_BYTES);
    return bytes.subarray(0, start + length);
  }

  /** Sends one frame. Returns false where the kernel did not take it: no room, too long, or the interface is down. */
  write(header: Uint8Array, frame: Uint8Array): boolean {
    writeIovecs(callScratch, [header.subarray(0, KERNEL_HEADER_BYTES), frame]);
    // SAFETY: both arrays are alive until the call returns; the vector is in this thread's scratch.
    return libc.writev(this.fd, callScratch.address, 2) >= 0;
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeFd(this.fd);
    this.#input[Symbol.dispose]();
  }
}

function indexOf(name: string): number {
  // SAFETY: the name is in this thread's scratch until the call returns.
  return libc.if_nametoindex(callScratch.cString(0, name));
}

function setOption(fd: number, option: number, value: number, name: string): void {
  callScratch.view.setInt32(0, value, true);
  // SAFETY: an int in this thread's scratch until the call returns.
  check(libc.setsockopt(fd, SOL_PACKET, option, callScratch.address, 4), 'setsockopt', name);
}

/** EINVAL: a kind of segmentation for which this kernel has no number in the header. */
function failedRead(name: string): PacketRead {
  const number = errno();
  if (number === os.errno.EAGAIN) return 'none';
  if (number === os.errno.EINVAL) return 'skipped';
  if (number === os.errno.ENETDOWN) return 'down';
  throw systemError('read', name);
}

function openError(name: string): SystemError {
  if (errno() !== os.errno.EPERM) return systemError('socket', name);
  return systemError('socket', `packet:${name} needs CAP_NET_RAW: root has it, or use a tap, which needs none`);
}
