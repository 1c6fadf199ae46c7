// Ground floor: what runs a device's queues: this thread, others of this process, or somebody's back end.
import type { VirtioDevice } from '../../virtio/device.ts';
import type { RingAreas } from '../../virtio/ring-format.ts';

/** A piece of guest memory behind a descriptor that stays the session's. */
export interface SharedRegion {
  /** The same for the same piece, and never used again. */
  readonly id: number;
  readonly fd: number;
  /** Where the region begins in the file. */
  readonly fileOffset: number;
  readonly guestAddress: number;
  readonly sizeBytes: number;
  /** What a mapping of the file begins and ends at a multiple of: the size of a page, or of a huge page. */
  readonly blockBytes: number;
}

/** What is notified when a queue has completions: an eventfd, or, on this thread alone, a function. */
export type CallTarget = { readonly fd: number } | { ring(): void };

/** A ring ready to run. Areas are guest addresses; descriptors stay the session's. */
export interface QueueSetup extends RingAreas {
  readonly size: number;
  /** Where to go on in the ring; opaque but to its format. */
  readonly base: number;
  readonly features: bigint;
  /** Absent: no kicks will come, the ring has to be looked at. */
  readonly kickFd: number | undefined;
  readonly call: CallTarget | undefined;
  /** Rung when the queue breaks. */
  readonly errFd: number | undefined;
}

/** Where a queue stands that was stopped. */
export interface QueueStop {
  readonly base: number;
  /** It had stopped by itself, over a mistake of the driver. */
  readonly broken: boolean;
}

/** Every promise is rejected with an Error where the impossible was asked for, and means "done" otherwise. */
export interface QueueHost {
  /** Has the guest's memory consist of these regions from now on. No queue that runs stands in one that goes. */
  setMemory(regions: readonly SharedRegion[]): Promise<void>;
  /** Starts a queue, and looks at its ring at once: a kick may have come before. Notifies the driver once, for what it may have missed. */
  start(index: number, setup: QueueSetup): Promise<void>;
  /** Stops a queue that was started. Afterwards nothing in flight touches guest memory, and the ring asks to be kicked. */
  stop(index: number): Promise<QueueStop>;
  /** Changes where a running queue notifies, and notifies there once: a notification may have been missed meanwhile. */
  setCall(index: number, call: CallTarget | undefined): Promise<void>;
}

/** What a driver sees of a device. */
export type DeviceTraits = Pick<VirtioDevice, 'type' | 'features' | 'queueSizes' | 'config'>;

/** What a device says by itself. */
export interface DeviceEvents {
  /** Its configuration space has changed, §2.3. */
  configChanged(): void;
  /** It is in an error that only a reset ends, §2.1.2. */
  needsReset(): void;
}

/** A device and what runs its queues, wherever that is. One session or driver uses it at a time. */
export interface DeviceHost extends QueueHost {
  readonly device: DeviceTraits;
  /** Set by whatever the driver is reached through. */
  events: DeviceEvents | undefined;
  /** The driver accepted these features, and is about to use the device. Queues that start do this too, with theirs. */
  activate(features: bigint): Promise<void>;
  /** The driver writes to the configuration space. False where it may not. Fulfilled when it holds on every thread. */
  writeConfig(offset: number, bytes: Uint8Array): Promise<boolean>;
  /** The device as it was made. No queue runs. */
  reset(): Promise<void>;
}
