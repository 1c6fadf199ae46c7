// Upper floor: spreads a device's queues over threads, queue by queue; everything else reaches all of them.
import type { QueueHost, QueueSetup, SharedRegion } from '../transports/queue/queue-host.ts';

export class SpreadQueueHost implements QueueHost {
  readonly #hosts: readonly QueueHost[];

  /** @param hosts the session's own thread first; its answer counts where one is wanted at once. */
  constructor(hosts: readonly QueueHost[]) {
    this.#hosts = hosts;
  }

  #of(index: number): QueueHost {
    return this.#hosts[index % this.#hosts.length] as QueueHost;
  }

  setMemory(regions: readonly SharedRegion[], done: (problem?: Error) => void): void {
    let left = this.#hosts.length;
    let first: Error | undefined;
    for (const host of this.#hosts) {
      host.setMemory(regions, (problem) => {
        first ??= problem;
        if (--left === 0) done(first);
      });
    }
  }

  start(index: number, setup: QueueSetup, done: (problem?: Error) => void): void {
    this.#of(index).start(index, setup, done);
  }

  stop(index: number, done: (base: number, broken: boolean) => void): void {
    this.#of(index).stop(index, done);
  }

  setCall(index: number, callFd: number | undefined, done: () => void): void {
    this.#of(index).setCall(index, callFd, done);
  }

  activate(features: bigint): void {
    for (const host of this.#hosts) host.activate(features);
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    return this.#hosts.map((host) => host.writeConfig(offset, bytes))[0] as boolean;
  }

  reset(): void {
    for (const host of this.#hosts) host.reset();
  }
}
