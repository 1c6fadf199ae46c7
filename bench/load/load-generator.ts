// bench/load: the driver side of a vhost-user block device: shares memory, starts the queues, and a thread for each.
import type { Worker } from 'node:worker_threads';
import {
  CONFIG,
  CONFIG_BYTES,
  SECTOR_BYTES,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
} from '../../src/devices/blk/spec.ts';
import { EventFd } from '../../src/sys/event-fd.ts';
import { closeFd } from '../../src/sys/libc.ts';
import { createMemfd } from '../../src/sys/memfd.ts';
import { moduleBeside, startThread } from '../../src/sys/thread.ts';
import { VhostUserFrontEnd } from '../../src/transports/vhost-user/front-end/blocking.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../../src/virtio/spec.ts';
import type { LoadJob, LoadMessage, LoadSpec, QueueResult } from './load-spec.ts';
import { planQueue, type QueuePlan } from './queue-plan.ts';

export interface LoadTarget {
  readonly socket: string;
  readonly spec: LoadSpec;
  /** Processors for the queues' threads, in turn; empty: not pinned. */
  readonly cpus: readonly number[];
  /** Whether the back end is to record its requests in flight in an area of ours (INFLIGHT_SHMFD). Default: false. */
  readonly inFlight?: boolean;
  /** Called when the first queue starts to measure, and when the first one has ended. */
  readonly onPhase?: (phase: 'measuring' | 'done') => void;
  /** Ends the threads at once; the promise is then rejected with its reason. */
  readonly signal?: AbortSignal;
}

/** The program of the threads. */
const WORKER = moduleBeside('./load-worker', import.meta.url);
/** Guest address of the shared memory. */
const GUEST_BASE = 0x4000_0000;
/** Used where the device has no size_max: a descriptor may cover any request. */
const NO_SIZE_MAX = 2 ** 31;

interface Disk {
  readonly capacityBytes: number;
  readonly segmentBytesMax: number;
  readonly features: bigint;
}

/** Runs a load; returns what each queue measured. Throws BackEndError, SystemError, RangeError (a disk too small). */
export async function generateLoad(target: LoadTarget): Promise<QueueResult[]> {
  const { spec, signal, inFlight = false } = target;
  signal?.throwIfAborted();
  using resources = new DisposableStack();
  const frontEnd = resources.use(await VhostUserFrontEnd.connect(target.socket, { inFlight }));
  const disk = describeDisk(frontEnd.offeredFeatures, await frontEnd.readConfig(0, CONFIG_BYTES), spec);
  await frontEnd.setFeatures(disk.features);
  const plans = planQueues(spec, disk);
  const memoryBytes = Math.ceil((plans.at(-1)?.end ?? 0) / 4096) * 4096;
  const memoryFd = createMemfd('belfry-load', memoryBytes);
  resources.defer(() => closeFd(memoryFd));
  await frontEnd.shareMemory([{ guestAddress: GUEST_BASE, sizeBytes: memoryBytes, fd: memoryFd }]);
  if (inFlight) await shareInflight(frontEnd, plans);
  const jobs: LoadJob[] = [];
  for (const [queue, plan] of plans.entries()) {
    const kick = resources.use(EventFd.create());
    const call = resources.use(EventFd.create());
    await frontEnd.startQueue(queue, {
      size: plan.size,
      descriptorArea: GUEST_BASE + plan.descriptorArea,
      driverArea: GUEST_BASE + plan.driverArea,
      deviceArea: GUEST_BASE + plan.deviceArea,
      kickFd: kick.fd,
      callFd: call.fd,
    });
    const { capacityBytes } = disk;
    const eventIdx = (disk.features & VIRTIO_F_EVENT_IDX) !== 0n;
    const fds = { memoryFd, kickFd: kick.fd, callFd: call.fd };
    const cpu = target.cpus[queue % target.cpus.length];
    jobs.push({ spec, plan, queue, capacityBytes, memoryBytes, guestBase: GUEST_BASE, eventIdx, cpu, ...fds });
  }
  const results = await runWorkers(jobs, target);
  // A device that stalled would not reply to GET_VRING_BASE either; closing the connection stops its queues as well.
  if (results.some(({ errors }) => errors.stall > 0)) return results;
  for (const queue of plans.keys()) await frontEnd.stopQueue(queue);
  return results;
}

function describeDisk(offered: bigint, { buffer, byteOffset }: Uint8Array, spec: LoadSpec): Disk {
  const config = new DataView(buffer, byteOffset, CONFIG_BYTES);
  const wanted =
    VIRTIO_F_VERSION_1 |
    VIRTIO_BLK_F_SIZE_MAX |
    VIRTIO_BLK_F_SEG_MAX |
    VIRTIO_BLK_F_RO |
    VIRTIO_BLK_F_FLUSH |
    VIRTIO_BLK_F_MQ |
    (spec.eventIdx ? VIRTIO_F_EVENT_IDX : 0n);
  const features = offered & wanted;
  if ((features & VIRTIO_BLK_F_RO) !== 0n && !spec.operation.endsWith('read')) {
    throw new RangeError(`the disk is read-only: ${spec.operation} would write to it`);
  }
  const queues = (features & VIRTIO_BLK_F_MQ) === 0n ? 1 : config.getUint16(CONFIG.num_queues, true);
  if (spec.queues > queues) throw new RangeError(`the disk has ${queues} queues, not ${spec.queues}`);
  const capacityBytes = Number(config.getBigUint64(CONFIG.capacity, true)) * SECTOR_BYTES;
  const needed = spec.blockBytes * spec.queues;
  if (capacityBytes < needed)
    throw new RangeError(`the disk has ${capacityBytes} bytes, the load takes at least ${needed}`);
  // qemu-storage-daemon offers SIZE_MAX and leaves size_max at 0, which means no limit.
  const sizeMax = (features & VIRTIO_BLK_F_SIZE_MAX) === 0n ? 0 : config.getUint32(CONFIG.size_max, true);
  const segmentBytesMax = sizeMax || NO_SIZE_MAX;
  const segmentsMax = (features & VIRTIO_BLK_F_SEG_MAX) === 0n ? 1 : config.getUint32(CONFIG.seg_max, true);
  if (Math.ceil(spec.blockBytes / segmentBytesMax) > segmentsMax) {
    throw new RangeError(
      `the disk takes requests of ${segmentsMax} x ${segmentBytesMax} bytes, not of ${spec.blockBytes}`,
    );
  }
  return { capacityBytes, segmentBytesMax, features };
}

async function shareInflight(frontEnd: VhostUserFrontEnd, plans: readonly QueuePlan[]): Promise<void> {
  const isShared = await frontEnd.shareInflight(plans.map(({ size }) => size));
  if (!isShared) throw new RangeError('the back end cannot record its requests in flight (INFLIGHT_SHMFD)');
}

function planQueues(spec: LoadSpec, disk: Disk): QueuePlan[] {
  const plans: QueuePlan[] = [];
  for (let queue = 0; queue < spec.queues; queue++) {
    const start = plans.at(-1)?.end ?? 0;
    plans.push(
      planQueue(start, { depth: spec.depth, blockBytes: spec.blockBytes, segmentBytesMax: disk.segmentBytesMax }),
    );
  }
  return plans;
}

/** Runs one thread for each job; when one fails or the signal is aborted, all are terminated. */
async function runWorkers(jobs: readonly LoadJob[], target: LoadTarget): Promise<QueueResult[]> {
  const workers: Worker[] = [];
  const seen = new Set<string>();
  const onPhase = (phase: LoadMessage['kind']): void => {
    if (!seen.has(phase)) target.onPhase?.(phase);
    seen.add(phase);
  };
  try {
    return await Promise.all(
      jobs.map((job) => {
        const worker = startThread(WORKER, { workerData: job });
        workers.push(worker);
        return resultOf(worker, onPhase, target.signal);
      }),
    );
  } finally {
    // The caller unmaps the memory and closes the descriptors next: no thread may use them any more.
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function resultOf(
  worker: Worker,
  onPhase: (phase: LoadMessage['kind']) => void,
  signal?: AbortSignal,
): Promise<QueueResult> {
  return new Promise((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    worker.on('error', reject);
    worker.on('exit', (code) => reject(new Error(`the load's thread ended early, exit ${code}`)));
    worker.on('message', (message: LoadMessage) => {
      onPhase(message.kind);
      if (message.kind === 'done') resolve(message.result);
    });
  });
}
