// daemon: a DeviceHost whose queues are spread over several hosts; calls that are not about one queue go to every
// host.
import type {
  CallTarget,
  DeviceEvents,
  DeviceHost,
  DeviceTraits,
  DirtyLogPart,
  QueueSetup,
  QueueStop,
  SharedRegion,
} from '../transports/queue/queue-host.ts';
import type { ThreadMethods } from './thread-host.ts';

export class SpreadHost implements DeviceHost {
  readonly #first: DeviceHost;
  readonly #hosts: readonly DeviceHost[];
  readonly #threadOf: (queue: number) => number;

  /**
   * @param hosts that of the device thread first: its device is the one that the driver sees.
   * @param threadOf a number for each queue, modulo the hosts; queues with one number are on one host. Default: the
   * queue's index.
   */
  constructor(hosts: readonly [DeviceHost, ...DeviceHost[]], threadOf: (queue: number) => number = (queue) => queue) {
    this.#first = hosts[0];
    this.#hosts = hosts;
    this.#threadOf = threadOf;
  }

  get device(): DeviceTraits {
    return this.#first.device;
  }

  get events(): DeviceEvents | undefined {
    return this.#first.events;
  }

  set events(events: DeviceEvents | undefined) {
    this.#first.events = events;
  }

  #of(index: number): DeviceHost {
    return this.#hosts[this.#threadOf(index) % this.#hosts.length] as DeviceHost;
  }

  setMemory(regions: readonly SharedRegion[], dirtyLog?: DirtyLogPart): Promise<void> {
    return this.#all((host) => host.setMemory(regions, dirtyLog)).then(() => {});
  }

  start(index: number, setup: QueueSetup): Promise<void> {
    return this.#of(index).start(index, setup);
  }

  stop(index: number): Promise<QueueStop> {
    return this.#of(index).stop(index);
  }

  setCall(index: number, call: CallTarget | undefined): Promise<void> {
    return this.#of(index).setCall(index, call);
  }

  activate(features: bigint): Promise<void> {
    return this.#all((host) => host.activate(features)).then(() => {});
  }

  /** Writes on every host. The first one decides whether the write was allowed. */
  async writeConfig(offset: number, bytes: Uint8Array): Promise<boolean> {
    const [isAllowed] = await this.#all((host) => host.writeConfig(offset, bytes));
    return isAllowed as boolean;
  }

  reset(): Promise<void> {
    return this.#all((host) => host.reset()).then(() => {});
  }

  /** Waits for every host, then rejects if one did. */
  async #all<T>(step: (host: DeviceHost) => Promise<T>): Promise<T[]> {
    const results = await Promise.allSettled(this.#hosts.map(step));
    return results.map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    });
  }
}

/**
 * Refreshes every other thread, then the device thread with `own`: its device notifies the driver, whose next request
 * may reach any thread. Returns what `own` returns.
 */
export async function refreshAll<T>(others: readonly Pick<ThreadMethods, 'refresh'>[], own: () => T): Promise<T> {
  await Promise.all(others.map((other) => other.refresh()));
  return own();
}
