// daemon: a device on the thread that opened it, and its description.
import type { VirtioDevice } from '../virtio/device.ts';

/** The description of a device, for logs and the command line. */
export interface DeviceProfile {
  /** Its name in the log: the name of a disk, the path of a module. */
  readonly name: string;
  /** The device type: VIRTIO_ID_BLOCK, … */
  readonly type: number;
  /** How many queues it offers. */
  readonly queues: number;
  /** Disks only: the size. */
  readonly sizeBytes?: number;
  /** Disks only: the driver may not write. */
  readonly readOnly?: boolean;
}

/** A device on the thread that opened it, with its store or socket. */
export interface OpenDevice {
  readonly device: VirtioDevice;
  readonly profile: DeviceProfile;
  /** Disks only: the memory of its `BlockCounts`. */
  readonly blockCounts?: SharedArrayBuffer;
  /** Bytes read and written so far. Network cards only: frames dropped. */
  bytes(): { readonly read: number; readonly written: number; readonly droppedFrames?: number };
  /**
   * Reads again what can change outside (the size of a store), and notifies the driver of a change. Returns a changed
   * size.
   */
  refresh(): number | undefined;
  /** Disks only: tries the requests again that are held after an error of the store. */
  retryHeld?(): void;
  /** Disks only: how many requests are held that another process could not go on with. */
  heldUnrecorded?(): number;
  /** Disks only: leaves held requests to the process that goes on. */
  passOn?(): void;
  /**
   * Makes completed writes durable, and closes everything.
   * @param isPassedOn another process of this machine will serve the device: what Linux keeps of a file need not be
   *   written to its disk for that.
   */
  close(isPassedOn?: boolean): Promise<void>;
}
