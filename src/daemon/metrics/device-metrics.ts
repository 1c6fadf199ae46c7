// metrics: every metric of the daemon: its name, its help, and where its samples come from.
import type { BlockKind } from '../../devices/blk/block-counts.ts';
import { LATENCY_BOUNDS_NS } from '../../virtio/queue-counters.ts';
import type { OperatedDevice } from '../control/operated-device.ts';
import type { DeviceSnapshot } from '../device-snapshot.ts';
import type { DeviceCounts, QueueCount } from '../thread-counters.ts';
import type { Family, Labels, Sample } from './exposition.ts';
import type { ProcessState } from './process-state.ts';

/** A device as it was when the metrics were read. */
export interface DeviceState {
  readonly device: OperatedDevice;
  readonly counts: DeviceCounts;
  /** Of what is no disk; undefined where a thread has never answered. */
  readonly snapshot: DeviceSnapshot | undefined;
  /** How long its threads took to answer, or have not answered. Undefined: not asked yet. */
  readonly answerSeconds: number | undefined;
  /** Processor time of each thread; the device thread is the first. */
  readonly threadSeconds: readonly number[];
}

const LATENCY_BOUNDS = LATENCY_BOUNDS_NS.map((ns) => ns / 1e9);

/** Returns every metric. The names are stable. */
export function metricsOf(states: readonly DeviceState[], process: ProcessState, version: string): Family[] {
  return [...processFamilies(process, version), ...deviceFamilies(states), ...queueFamilies(states)];
}

function processFamilies({ lag, memory, cpuSeconds, uptimeSeconds }: ProcessState, version: string): Family[] {
  return [
    gauge('belfry_build_info', 'The version of Belfry, and of Node.', [
      { labels: { version, node: globalThis.process.version }, value: 1 },
    ]),
    gauge('belfry_uptime_seconds', 'Since the process started.', [{ labels: {}, value: uptimeSeconds }]),
    counter('belfry_cpu_seconds_total', 'Processor time of the process, all threads.', [
      { labels: {}, value: cpuSeconds },
    ]),
    gauge(
      'belfry_memory_bytes',
      'Memory of the process: private (its own), shared (guest memory and images that it has touched), heap (JavaScript).',
      Object.entries(memory).map(([kind, value]) => ({ labels: { kind }, value })),
    ),
    gauge(
      'belfry_event_loop_lag_seconds',
      'How late the main thread, which serves no requests, ran its timers since the metrics were read last.',
      Object.entries(lag).map(([kind, value]) => ({ labels: { kind }, value })),
    ),
  ];
}

function deviceFamilies(states: readonly DeviceState[]): Family[] {
  const each = (of: (state: DeviceState) => number | undefined): Sample[] =>
    samples(states, (state) => [[{}, of(state)]]);
  return [
    gauge('belfry_device_info', 'A device: its kind, and what is behind it.', samples(states, aboutOf)),
    gauge(
      'belfry_device_connected',
      'Whether a front end is connected.',
      each(({ counts }) => Number(counts.isConnected)),
    ),
    gauge(
      'belfry_device_paused',
      'Whether it takes no requests.',
      each(({ device }) => Number(device.isPaused)),
    ),
    gauge(
      'belfry_device_size_bytes',
      'The size of a disk.',
      each(({ device }) => device.sizeBytes),
    ),
    counter('belfry_device_read_bytes_total', 'Bytes that the guest read or received.', each(bytesRead)),
    counter('belfry_device_written_bytes_total', 'Bytes that the guest wrote or sent.', each(bytesWritten)),
    counter(
      'belfry_device_dropped_frames_total',
      'Frames of a network card that were dropped.',
      each(({ snapshot }) => snapshot?.droppedFrames),
    ),
    counter('belfry_disk_requests_total', 'Requests of a disk, by kind and outcome.', samples(states, diskRequests)),
    counter(
      'belfry_polls_total',
      'Polls before a sleep: a hit found work, a miss ended in a sleep.',
      samples(states, pollsOf),
    ),
    gauge(
      'belfry_device_answer_seconds',
      'How long the threads of a device took to answer when the metrics were read last, or have not answered since.',
      each(({ answerSeconds }) => answerSeconds),
    ),
    counter(
      'belfry_thread_cpu_seconds_total',
      'Processor time of a thread of a device.',
      samples(states, ({ threadSeconds }) => threadSeconds.map((seconds, thread) => [{ thread }, seconds])),
    ),
  ];
}

function queueFamilies(states: readonly DeviceState[]): Family[] {
  const each = (of: (queue: QueueCount) => number): Sample[] =>
    samples(states, ({ counts }) => counts.queues.map((one) => [{ queue: one.queue }, of(one)]));
  return [
    counter(
      'belfry_queue_requests_total',
      'Requests that were finished.',
      each(({ requests }) => requests),
    ),
    counter(
      'belfry_queue_batches_total',
      'Times that finished requests were published.',
      each(({ batches }) => batches),
    ),
    counter(
      'belfry_queue_kicks_total',
      'Notifications from the driver.',
      each(({ kicks }) => kicks),
    ),
    counter(
      'belfry_queue_calls_total',
      'Notifications to the driver.',
      each(({ calls }) => calls),
    ),
    gauge(
      'belfry_queue_in_flight_requests',
      'Requests that were taken and not finished.',
      each(({ inFlight }) => inFlight),
    ),
    {
      name: 'belfry_queue_latency_seconds',
      type: 'histogram',
      help: 'From pop to publish: of batches where the store answers at once, of requests where it answers later.',
      samples: states.flatMap(({ device, counts }) =>
        counts.queues.map(({ queue, latency }) => ({
          labels: { device: device.name, queue },
          bounds: LATENCY_BOUNDS,
          buckets: latency.buckets,
          sum: latency.sumNs / 1e9,
        })),
      ),
    },
  ];
}

type Values = readonly (readonly [Labels, number | undefined])[];

/** A sample for each value that is there, with the name of its device. */
function samples(states: readonly DeviceState[], of: (state: DeviceState) => Values): Sample[] {
  return states.flatMap((state) =>
    of(state).flatMap(([labels, value]) =>
      value === undefined ? [] : [{ labels: { device: state.device.name, ...labels }, value }],
    ),
  );
}

function aboutOf({ device }: DeviceState): Values {
  const { profile, socket = '' } = device.options;
  return [[{ kind: device.kind, about: profile.name, socket }, 1]];
}

function bytesRead({ counts, snapshot }: DeviceState): number | undefined {
  return counts.blocks?.read ?? snapshot?.bytesRead;
}

function bytesWritten({ counts, snapshot }: DeviceState): number | undefined {
  return counts.blocks?.written ?? snapshot?.bytesWritten;
}

/** What every disk is asked for is there from the start, so that a rate has a first value. */
const USUAL: readonly BlockKind[] = ['read', 'write', 'flush'];

function diskRequests({ counts }: DeviceState): Values {
  const all = counts.blocks?.requests ?? [];
  const shown = all.filter(
    ({ kind, outcome, count }) => count > 0 || (USUAL.includes(kind) && outcome !== 'unsupported'),
  );
  return shown.map(({ kind, outcome, count }) => [{ kind, outcome }, count]);
}

function pollsOf({ counts }: DeviceState): Values {
  return counts.polls.flatMap(({ hits, misses }, thread) => [
    [{ thread, result: 'hit' }, hits] as const,
    [{ thread, result: 'miss' }, misses] as const,
  ]);
}

function counter(name: string, help: string, all: readonly Sample[]): Family {
  return { name, help, type: 'counter', samples: all };
}

function gauge(name: string, help: string, all: readonly Sample[]): Family {
  return { name, help, type: 'gauge', samples: all };
}
