// sys: a tap interface: Ethernet frames of the kernel, each with a struct virtio_net_hdr in front. linux/if_tun.h.
import { constants as open } from 'node:fs';
import { constants as os } from 'node:os';
import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { writeIovecs } from './iovec.ts';
import { check, checkOrAgain, closeFd, errno, libc, type SystemError, systemError } from './libc.ts';
import { callScratch, Scratch } from './scratch.ts';

const TUNSETIFF = 0x400454can;
const TUNSETOFFLOAD = 0x400454d0n;
const TUNSETVNETHDRSZ = 0x400454d8n;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

/** TUN_F_…: what the reader of a tap takes in the headers of frames. */
export const TUN_F = { CSUM: 0x01, TSO4: 0x02, TSO6: 0x04, TSO_ECN: 0x08, USO4: 0x20, USO6: 0x40 } as const;

/** struct ifreq: the name, then a union. */
const NAME_BYTES = 16;
const IFREQ_BYTES = 40;
const HEADER_BYTES = 12;
/** Longer than any frame of a tap: 64 KiB of TCP with its headers. */
const PACKET_BYTES = 68 * 1024;

/** An open tap interface. No call blocks. */
export class Tap implements Disposable {
  readonly fd: number;
  readonly name: string;
  /** Whether opening it made the interface: it goes away with the descriptor, and is down at first. */
  readonly isNew: boolean;
  readonly #input = new Scratch(PACKET_BYTES);
  #isOpen = true;

  private constructor(fd: number, name: string, isNew: boolean) {
    this.fd = fd;
    this.name = name;
    this.isNew = isNew;
  }

  /**
   * Opens the tap `name`, which it makes where there is none and the process may. Throws SystemError that says what to
   * do: EPERM, EBUSY, EINVAL, ENOENT, EACCES.
   */
  static open(name: string): Tap {
    // SAFETY: the paths and structures here are in this thread's scratch until each call returns.
    const isNew = libc.if_nametoindex(callScratch.cString(0, name)) === 0;
    const fd = libc.open(callScratch.cString(0, '/dev/net/tun'), open.O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) throw systemError('open', '/dev/net/tun: is the kernel module tun loaded, and may you open it?');
    try {
      const { view, bytes, address } = callScratch;
      bytes.fill(0, 0, IFREQ_BYTES);
      callScratch.cString(0, name);
      view.setUint16(NAME_BYTES, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, true);
      // SAFETY: struct ifreq, as above.
      if (libc.ioctl(fd, TUNSETIFF, address) < 0) throw attachError(name, isNew);
      view.setInt32(0, HEADER_BYTES, true);
      // SAFETY: an int, as above.
      check(libc.ioctl(fd, TUNSETVNETHDRSZ, address), 'TUNSETVNETHDRSZ', name);
      return new Tap(fd, name, isNew);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Sets what the headers of frames that are read may ask for: bits of TUN_F. Returns false where it is not known. */
  setOffloads(flags: number): boolean {
    // SAFETY: the argument is a number.
    return libc.ioctl(this.fd, TUNSETOFFLOAD, BigInt(flags)) === 0;
  }

  /**
   * Reads one frame. Returns its bytes with the header of 12 bytes in front, valid until the next call, or undefined
   * where there is none. Throws SystemError: EBADFD where the interface was removed.
   */
  read(): Uint8Array | undefined {
    // SAFETY: the buffer is this object's.
    const length = checkOrAgain(libc.read(this.fd, this.#input.address, BigInt(PACKET_BYTES)), 'read', this.name);
    return length === undefined ? undefined : this.#input.bytes.subarray(0, length);
  }

  /** Writes one frame. Returns false where the kernel did not take it: it has no room, or the interface is down. */
  write(header: Uint8Array, frame: Uint8Array): boolean {
    writeIovecs(callScratch, [header, frame]);
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

function attachError(name: string, isNew: boolean): SystemError {
  const make = `"ip tuntap add ${name} mode tap user $USER" as root makes one for you`;
  switch (errno()) {
    case os.errno.EPERM:
      return systemError(
        'TUNSETIFF',
        isNew ? `there is no tap ${name}: ${make}` : `${name} belongs to another user: ${make}`,
      );
    case os.errno.EBUSY:
      return systemError('TUNSETIFF', `${name} is in use by another process`);
    case os.errno.EINVAL:
      return systemError('TUNSETIFF', `${name} is not a tap with one queue: ${make}`);
    default:
      return systemError('TUNSETIFF', name);
  }
}
