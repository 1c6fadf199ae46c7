// bench/notify: the job message of the device thread, and its result.
import type { PollMode } from '../../src/daemon/poll-mode.ts';
import type { StoreDescription } from '../../src/index.ts';
import type { QueuePlan } from '../load/queue-plan.ts';
import type { DoorbellKind } from '../threads/doorbell.ts';
import type { SharedMemory } from '../threads/shared-queue.ts';

export interface DeviceSetup {
  readonly memory: SharedMemory;
  readonly store: StoreDescription;
  readonly kickFd: number;
  readonly callFd: number;
  readonly stop: SharedArrayBuffer;
  /** An eventfd, signalled with `stop`. */
  readonly stopFd: number;
}

export interface DeviceJob {
  readonly plan: QueuePlan;
  readonly cpu: number;
  readonly doorbell: DoorbellKind;
  readonly poll: PollMode;
  readonly forgetful: boolean;
  readonly eventIdx: boolean;
}

export interface DeviceCounts {
  readonly requests: number;
  /** Calls sent to the driver. */
  readonly calls: number;
  readonly wakeUps: number;
  readonly cpuSeconds: number;
  readonly involuntarySwitches: number;
}
