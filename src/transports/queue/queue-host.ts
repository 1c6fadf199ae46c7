// queue: the interface of what runs a device's queues: this thread, other threads, or a back end in another
// process.
import type { VirtioDevice } from '../../virtio/device.ts';
import type { RingAreas } from '../../virtio/ring-format.ts';

/** A piece of guest memory behind a descriptor, which the session owns. */
export interface SharedRegion {
  /** Identifies the piece; never used for another one. */
  readonly id: number;
  readonly fd: number;
  /** Where the region begins in the file. */
  readonly fileOffset: number;
  readonly guestAddress: number;
  readonly sizeBytes: number;
  /** Mappings of the file start and end at a multiple of this: the size of a page, or of a huge page. */
  readonly blockBytes: number;
}

/** What a host notifies when a queue has used buffers: an eventfd, or a function where the host runs on this thread. */
export type CallTarget = { readonly fd: number } | { notify(): void };

/** The part of a file in which a queue records its requests in flight. The session owns the descriptor. */
export interface InFlightPart {
  readonly fd: number;
  /** A multiple of 8. */
  readonly fileOffset: number;
  readonly sizeBytes: number;
}

/** The part of a file in which written pages of guest memory are marked. The session owns the descriptor. */
export interface DirtyLogPart {
  /** Identifies the log; never used for another one. */
  readonly id: number;
  readonly fd: number;
  readonly fileOffset: number;
  readonly sizeBytes: number;
}

/** A ring ready to run. Areas are guest addresses. The session owns the descriptors. */
export interface QueueSetup extends RingAreas {
  readonly size: number;
  /** Where to go on in the ring; only its format interprets this. */
  readonly base: number;
  readonly features: bigint;
  /** Undefined: no kicks will come, so the host has to poll the ring. */
  readonly kickFd: number | undefined;
  readonly call: CallTarget | undefined;
  /** Signalled when the queue breaks. */
  readonly errFd: number | undefined;
  /** Absent: requests in flight are lost with the process. */
  readonly inFlight?: InFlightPart | undefined;
}

/** State of a queue that was stopped. */
export interface QueueStop {
  readonly base: number;
  /** It had stopped already: the driver broke a rule, or the device failed. */
  readonly broken: boolean;
}

/** Runs queues. Every promise resolves when the step is done, and rejects with an Error when it is impossible. */
export interface QueueHost {
  /**
   * Replaces guest memory with these regions. No running queue may be in a region that is removed. From the time it
   * resolves, every page that the device has written is marked in `dirtyLog`; absent: none is.
   */
  setMemory(regions: readonly SharedRegion[], dirtyLog?: DirtyLogPart): Promise<void>;
  /**
   * Starts a queue, and checks its ring at once for earlier kicks. Notifies the driver once for what it may have
   * missed.
   */
  start(index: number, setup: QueueSetup): Promise<void>;
  /**
   * Stops a queue that was started. Afterwards no request in flight touches guest memory, and the ring requests kicks.
   */
  stop(index: number): Promise<QueueStop>;
  /** Changes the target of a running queue's notifications, and notifies it once for what may have been missed. */
  setCall(index: number, call: CallTarget | undefined): Promise<void>;
}

/** What a driver sees of a device. */
export type DeviceTraits = Pick<VirtioDevice, 'type' | 'features' | 'queueSizes' | 'config'>;

/** Events that a device raises. */
export interface DeviceEvents {
  /** Its configuration space has changed, §2.3. */
  configChanged(): void;
  /** The device is in an error state that only a reset ends, §2.1.2. */
  needsReset(): void;
}

/** A device and what runs its queues. One session or driver uses it at a time. */
export interface DeviceHost extends QueueHost {
  readonly device: DeviceTraits;
  /** Set by the transport that uses the host. */
  events: DeviceEvents | undefined;
  /** Starts the device with the features that the driver accepted. Starting a queue does this too. */
  activate(features: bigint): Promise<void>;
  /**
   * Writes to the configuration space. Resolves when every thread has applied it: to false where the bytes are
   * read-only.
   */
  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean>;
  /** Resets the device. No queue may run. */
  reset(): Promise<void>;
}
