// daemon: opens a socket device and its UNIX sockets on their thread.
import { VsockDevice } from '../devices/vsock/vsock-device.ts';
import { VsockHost } from '../ports/vsock-host.ts';
import type { OpenDevice } from './open-device.ts';

/** A socket device as a plain value. */
export interface VsockSource {
  readonly kind: 'vsock';
  /** The address of the guest. */
  readonly cid: number;
  /** The path of its UNIX sockets. */
  readonly uds: string;
}

/** Listens at the path and opens the device. Throws SystemError for a path that cannot be listened at, RangeError. */
export function openVsock({ cid, uds }: VsockSource): OpenDevice {
  const port = new VsockHost({ uds });
  let device: VsockDevice;
  try {
    device = new VsockDevice({ cid, port });
  } catch (error) {
    port.close();
    throw error;
  }
  return {
    device,
    profile: { name: `CID ${cid} at ${uds}`, type: device.type, queues: device.queueSizes.length },
    bytes: () => ({ read: device.bytes.sent, written: device.bytes.received }),
    refresh: () => undefined,
    close: () => device.close(),
  };
}
