// hvisor: what the transport needs of hvisor: the interface, and /dev/hvisor behind it.
import { constants as open } from 'node:fs';
import { constants as os } from 'node:os';
import { O_CLOEXEC } from '../../sys/constants.ts';
import type { EventFd } from '../../sys/event-fd.ts';
import { closeFd, errno, ioctlByValue, libc, systemError } from '../../sys/libc.ts';
import { Mapping } from '../../sys/mapping.ts';
import { callScratch } from '../../sys/scratch.ts';
import { BRIDGE_BYTES, HVISOR_FINISH_REQ, HVISOR_INIT_VIRTIO, HVISOR_SET_EVENTFD } from './bridge-layout.ts';

/** The daemon's hold on hvisor. A test has another one behind it. */
export interface HvisorPort extends Disposable {
  /** The bridge page, new and zeroed. */
  readonly page: Uint8Array<ArrayBuffer>;
  /** Makes hvisor's wake-ups signal the eventfd from now on. Throws SystemError. */
  setEventFd(eventFd: EventFd): void;
  /** Maps zone memory: `zone0Ipa` is its address as zone 0 has it. Throws SystemError. The port unmaps it. */
  mapMemory(zone0Ipa: number, sizeBytes: number): Uint8Array<ArrayBuffer>;
  /** Has hvisor inject the interrupts that are in the result ring. Throws SystemError. */
  finish(): void;
}

/** Calls until a signal did not interrupt it. Every number and argument of these calls is an integer. */
function call(fd: number, name: string, request: number, argument: number, advice: string): void {
  // SAFETY: the argument is a number, and the driver touches no memory of this process.
  while (ioctlByValue(fd, request, argument) < 0) if (errno() !== os.errno.EINTR) throw systemError(name, advice);
}

/** /dev/hvisor. Registering a page replaces that of an earlier daemon, which then serves nothing any more. */
class HvisorDevice implements HvisorPort {
  readonly page: Uint8Array<ArrayBuffer>;
  readonly #fd: number;
  readonly #mappings: Mapping[] = [];

  constructor(fd: number, path: string) {
    this.#fd = fd;
    const other = `${path} is not hvisor's, or its module has another version`;
    call(fd, 'HVISOR_INIT_VIRTIO', HVISOR_INIT_VIRTIO, 0, other);
    this.page = this.#map(BRIDGE_BYTES, 0);
  }

  #map(sizeBytes: number, offset: number): Uint8Array<ArrayBuffer> {
    const mapping = Mapping.ofFile(this.#fd, sizeBytes, { offset });
    this.#mappings.push(mapping);
    mapping.keepPrivate();
    return mapping.bytes;
  }

  setEventFd(eventFd: EventFd): void {
    call(this.#fd, 'HVISOR_SET_EVENTFD', HVISOR_SET_EVENTFD, eventFd.fd, 'update the module hvisor.ko');
  }

  mapMemory(zone0Ipa: number, sizeBytes: number): Uint8Array<ArrayBuffer> {
    return this.#map(sizeBytes, zone0Ipa);
  }

  finish(): void {
    call(this.#fd, 'HVISOR_FINISH_REQ', HVISOR_FINISH_REQ, 0, 'hvisor does not take interrupts');
  }

  [Symbol.dispose](): void {
    for (const mapping of this.#mappings) mapping[Symbol.dispose]();
    closeFd(this.#fd);
  }
}

/** Opens hvisor and registers a bridge page. Throws SystemError that says what to do. */
export function openHvisor(path = '/dev/hvisor'): HvisorPort {
  // SAFETY: the path is in this thread's scratch until the call returns.
  const fd = libc.open(callScratch.cString(0, path), open.O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) throw systemError('open', adviceFor(path));
  try {
    return new HvisorDevice(fd, path);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function adviceFor(path: string): string {
  return errno() === os.errno.ENOENT
    ? `${path} is not there: is this zone 0 of hvisor, and hvisor.ko loaded (insmod hvisor.ko)?`
    : `${path}: run this as root in zone 0 of hvisor`;
}
