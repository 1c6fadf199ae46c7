// daemon/hvisor: serves the devices of a zones file on hvisor's bridge, on one thread in Node's loop.
import { EventLoop } from '../../sys/event-loop.ts';
import { rideNodeLoop } from '../../sys/node-loop.ts';
import { Bridge, type BridgeCounters } from '../../transports/hvisor/bridge.ts';
import type { HvisorPort } from '../../transports/hvisor/hvisor-port.ts';
import { VirtioHvisor } from '../../transports/hvisor/virtio-hvisor.ts';
import { mapZoneMemory } from '../../transports/hvisor/zone-memory.ts';
import { LocalHost } from '../../transports/queue/local-host.ts';
import type { GuestMemory } from '../../virtio/guest-memory.ts';
import type { Log } from '../../virtio/log.ts';
import { totalOf } from '../../virtio/queue-counters.ts';
import type { OpenDevice } from '../open-device.ts';
import { openZoneDevice } from './open-zone-device.ts';
import type { Zone, ZoneDevice, ZonesFile } from './zones-file.ts';

export interface HvisorDaemonOptions {
  readonly port: HvisorPort;
  readonly file: ZonesFile;
  /** Takes each log line. A zone can cause any number of lines, so it has to limit them. */
  readonly log: Log;
}

interface Served {
  readonly zone: number;
  readonly entry: ZoneDevice;
  readonly opened: OpenDevice;
  readonly host: LocalHost;
  readonly transport: VirtioHvisor;
}

/** A device as `belfry hvisor status` shows it. */
export interface ServedZoneDevice {
  readonly zone: number;
  readonly type: string;
  readonly address: number;
  /** The name of its disk, terminal or port. */
  readonly name: string;
  readonly requests: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Everything that is counted. */
export interface HvisorSnapshot {
  readonly bridge: BridgeCounters;
  readonly devices: readonly ServedZoneDevice[];
}

/** The devices of all zones, from `start` to `close`. */
export class HvisorDaemon {
  readonly loop = new EventLoop();
  readonly #options: HvisorDaemonOptions;
  readonly #ride = rideNodeLoop(this.loop);
  readonly #bridge: Bridge;
  #served: readonly Served[] = [];

  private constructor(options: HvisorDaemonOptions) {
    this.#options = options;
    this.#bridge = new Bridge(options.port, this.loop, options.log);
  }

  /**
   * Opens every device and serves. A device that cannot be opened is logged and left out: its zone sees none there.
   * Rejects when none can be opened. Closes the port at the end.
   */
  static async start(options: HvisorDaemonOptions): Promise<HvisorDaemon> {
    const daemon = new HvisorDaemon(options);
    for (const zone of options.file.zones) await daemon.#openZone(zone);
    if (daemon.#served.length === 0) {
      await daemon.close();
      throw new Error('no device can be served');
    }
    daemon.#bridge.start();
    return daemon;
  }

  async #openZone(zone: Zone): Promise<void> {
    let memory: GuestMemory;
    try {
      memory = mapZoneMemory(this.#options.port, zone.memory);
    } catch (error) {
      return this.#options.log(`zone ${zone.id} is not served: its memory: ${(error as Error).message}`);
    }
    for (const entry of zone.devices) await this.#open(zone.id, entry, memory);
  }

  async #open(zone: number, entry: ZoneDevice, memory: GuestMemory): Promise<void> {
    const name = `zone ${zone} ${entry.type} at 0x${entry.address.toString(16)}`;
    const log: Log = (line, about) => this.#options.log(`${name}: ${line}`, about);
    let opened: OpenDevice;
    try {
      opened = await openZoneDevice(entry, log);
    } catch (error) {
      return log(`${entry.where}: not served: ${(error as Error).message}`);
    }
    const host = new LocalHost(opened.device, this.loop, { log, guest: memory });
    const { address, sizeBytes, irq } = entry;
    const transport = new VirtioHvisor(this.#bridge, { host, zone, address, sizeBytes, irq, log });
    this.#served = [...this.#served, { zone, entry, opened, host, transport }];
  }

  /** Totals so far. */
  snapshot(): HvisorSnapshot {
    const devices = this.#served.map(({ zone, entry, opened, host }) => {
      const { read, written } = opened.bytes();
      const { requests } = totalOf(host.counters);
      const { type, address } = entry;
      return { zone, type, address, name: opened.profile.name, requests, bytesRead: read, bytesWritten: written };
    });
    return { bridge: { ...this.#bridge.counters }, devices };
  }

  /** Finishes the requests in flight, flushes and closes. A zone that accesses a device afterwards waits for ever. */
  async close(): Promise<void> {
    for (const { transport, opened } of this.#served) {
      await transport.close();
      await opened.close();
    }
    this.#bridge[Symbol.dispose]();
    this.#ride[Symbol.dispose]();
    this.loop[Symbol.dispose]();
    this.#options.port[Symbol.dispose]();
  }
}
