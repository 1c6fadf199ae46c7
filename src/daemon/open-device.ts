// Upper floor: a device on the thread that made it, and what is told of it.
import type { VirtioDevice } from '../virtio/device.ts';

/** What a person is told of a device. */
export interface DeviceProfile {
  /** What it is called in the log: the name of a disk, the path of a module. */
  readonly name: string;
  /** VIRTIO_ID_BLOCK, … */
  readonly type: number;
  /** Queues offered. */
  readonly queues: number;
  /** Of a disk. */
  readonly sizeBytes?: number;
  /** Of a disk: its driver may not write. */
  readonly readOnly?: boolean;
}

/** A device on the thread that made it, with what stands behind it. */
export interface OpenDevice {
  readonly device: VirtioDevice;
  readonly profile: DeviceProfile;
  /** Bytes moved so far. */
  bytes(): { readonly read: number; readonly written: number };
  /** Looks again at what can change outside (the size of a store); the driver is told. Returns the new size, if it changed. */
  refresh(): number | undefined;
  /** Makes what the guest was told is written durable, and gives everything back. */
  close(): Promise<void>;
}
